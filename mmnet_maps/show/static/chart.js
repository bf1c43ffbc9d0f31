// The series of a pixel: estimate, interval as a band, SMAP and observations where there are any; rain below.

const INK = "#1f6aa8";
const BAND = "rgba(31, 106, 168, 0.22)";
const AXIS = 52;

// A line where the chosen day is.
const chosenDay = (days, chosen) => ({ ctx, bbox, valToPos }) => {
  const x = Math.round(valToPos(days[chosen()], "x", true));
  ctx.save();
  ctx.strokeStyle = "#d1495b";
  ctx.lineWidth = 2;
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
};

// Between two dates of an axis, in seconds: whole days.
const STEPS = [1, 2, 5, 10, 20, 30, 60, 91, 182, 365, 730, 1826, 3652].map((days) => days * 86400);

function chart(holder, data, height, more, { days, chosen, onDay, onHover }) {
  const made = new uPlot(
    {
      width: Math.max(240, holder.clientWidth),
      height,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      legend: { show: false },
      cursor: { sync: { key: "point" } },
      hooks: { draw: [chosenDay(days, chosen)], setCursor: [(self) => onHover(self.cursor.idx)] },
      ...more,
    },
    [days, ...data],
    holder,
  );
  made.over.addEventListener("click", () => made.cursor.idx != null && onDay(made.cursor.idx));
}

export function drawChart(holder, series, unit, use) {
  const { estimate, lower, upper, smap, observed } = series;
  const data = [upper, lower, estimate];
  const edge = { stroke: "transparent", points: { show: false } };
  const lines = [{}, edge, edge, { stroke: INK, width: 1.6, points: { show: true, size: 4, fill: INK } }];
  if (smap) {
    data.push(smap);
    lines.push({ stroke: "#8a5a00", width: 1.4, dash: [6, 4], points: { show: false } });
  }
  if (observed) {
    data.push(observed);
    lines.push({ stroke: "#222222", points: { show: true, size: 6, fill: "#ffffff" }, paths: () => null });
  }
  const dates = (_, ticks) => ticks.map((t) => new Date(t * 1e3).toISOString().slice(0, 10));
  const values = (_, ticks) => ticks.map((v) => v.toFixed(unit.digits));
  holder.replaceChildren();
  chart(holder, data, 210, {
    series: lines,
    bands: [{ series: [1, 2], fill: BAND }],
    axes: [{ space: 88, size: 34, incrs: STEPS, values: dates }, { size: AXIS, values }],
  }, use);
}

export function drawRain(holder, rain, use) {
  holder.replaceChildren();
  chart(holder, [rain], 84, {
    series: [{}, { stroke: INK, width: 0, fill: INK, paths: uPlot.paths.bars({ size: [0.7, 12] }), points: { show: false } }],
    scales: { y: { range: (_, low, high) => [0, Math.max(5, high ?? 0)] } },
    axes: [{ size: 6, values: () => [], ticks: { show: false } }, { size: AXIS, space: 22 }],
  }, use);
}
