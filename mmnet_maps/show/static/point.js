// One pixel: where it is, and its series in physical units and words.

// Row and column of the pixel that holds a point, from the polynomials that come with the maps; null outside.
export function pixelAt(site, { lng, lat }) {
  const { centre, half, row, col } = site.pixelAt;
  const west = (centre[0] - half[0] - 0.5) * 360;
  const east = west + ((((lng - west) % 360) + 360) % 360);
  const sine = Math.sin((lat * Math.PI) / 180);
  const u = (east / 360 + 0.5 - centre[0]) / half[0];
  const v = (0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI) - centre[1]) / half[1];
  if (Math.abs(u) > 1.000001 || Math.abs(v) > 1.000001) return null;
  const found = [row, col].map((part) => Math.floor(chebyshev(part, u, v)));
  return found.every((index, k) => index >= 0 && index < site.shape[k]) ? found : null;
}

// The sum of c[i][j] T_i(u) T_j(v), where T_k(cos a) is cos(k a).
function chebyshev(coefficients, u, v) {
  const [a, b] = [u, v].map((w) => Math.acos(Math.min(1, Math.max(-1, w))));
  let sum = 0;
  coefficients.forEach((line, i) => line.forEach((c, j) => (sum += c * Math.cos(i * a) * Math.cos(j * b))));
  return sum;
}

export const worded = (date) => `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}`;
const NAMES = { estimate: "soil_moisture", lower: "lower", upper: "upper", smap: "SMAP", rain: "pr" };

// A row a day: physical values (null where missing), the bits of quality and what they mean.
export function rowsOf(site, stored) {
  const parts = Object.entries(NAMES).map(([key, name]) => {
    const layer = site.layers.find((one) => one.name === name);
    const value = (v) => (v === undefined || v === layer.missing || v !== v ? null : v * layer.scale + layer.offset);
    return [key, (stored[name] ?? []).map(value)];
  });
  return site.days.map((day, k) => {
    const quality = stored.quality?.[k] ?? 0;
    const reasons = site.flags.filter((flag) => quality & flag.mask).map((flag) => flag.words);
    return { date: day.date, quality, reasons, ...Object.fromEntries(parts.map(([key, values]) => [key, values[k] ?? null])) };
  });
}

export function csvOf(rows) {
  const cell = (value) => (value === null ? "" : Number(value.toFixed(5)));
  const more = ["smap", "rain"].filter((key) => rows.some((row) => row[key] !== null));
  const titles = { smap: "smap", rain: "precipitation_mm" };
  const lines = rows.map((row) => [
    worded(row.date), cell(row.estimate), cell(row.lower), cell(row.upper), row.quality, `"${row.reasons.join("; ")}"`,
    ...more.map((key) => cell(row[key])),
  ].join(","));
  return [["date,estimate,lower,upper,quality,reasons", ...more.map((key) => titles[key])].join(","), ...lines].join("\n") + "\n";
}
