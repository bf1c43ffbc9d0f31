// The series of a pixel: estimate, interval as a band, observations of a station where there are any.

const INK = "#1f6aa8";
const BAND = "rgba(31, 106, 168, 0.22)";

export function drawChart(holder, series, unit, chosen, onDay, onHover) {
  const { days, estimate, lower, upper, observed } = series;
  const data = [days.map((day) => day.seconds), upper, lower, estimate];
  const lines = [
    {},
    { stroke: "transparent", points: { show: false } },
    { stroke: "transparent", points: { show: false } },
    { stroke: INK, width: 1.6, points: { show: true, size: 4, fill: INK } },
  ];
  if (observed) {
    data.push(observed);
    lines.push({ stroke: "#222222", points: { show: true, size: 6, fill: "#ffffff" }, paths: () => null });
  }
  const marker = (chart) => {
    const { ctx, bbox } = chart;
    const x = Math.round(chart.valToPos(days[chosen()].seconds, "x", true));
    ctx.save();
    ctx.strokeStyle = "#d1495b";
    ctx.lineWidth = 2;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  };
  holder.replaceChildren();
  const chart = new uPlot(
    {
      width: Math.max(240, holder.clientWidth),
      height: 210,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      scales: { x: { time: true } },
      series: lines,
      bands: [{ series: [1, 2], fill: BAND }],
      axes: [{ space: 88, size: 34, values: (_, ticks) => ticks.map((t) => new Date(t * 1e3).toISOString().slice(0, 10)) }, { size: 52, values: (_, ticks) => ticks.map((v) => v.toFixed(unit.digits)) }],
      legend: { show: false },
      hooks: { draw: [marker], setCursor: [(self) => onHover(self.cursor.idx)] },
    },
    data,
    holder,
  );
  chart.over.addEventListener("click", () => {
    if (chart.cursor.idx != null) onDay(chart.cursor.idx);
  });
  return chart;
}
