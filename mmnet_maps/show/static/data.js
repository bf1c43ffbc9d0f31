// What the page fetches: values of tiles, which pixel stands where, and the series of a block of pixels.

const TYPES = {
  int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array,
  uint8: Uint8Array, int8: Int8Array, float32: Float32Array, float64: Float64Array,
};
const KEPT = 600;
const kept = new Map();

async function fetched(url, signal) {
  const answer = await fetch(url, { signal, cache: "no-cache" });
  if (!answer.ok) {
    let reason = `${answer.status}`;
    try {
      reason = (await answer.json()).error;
    } catch {
      // A web host answers in its own words.
    }
    throw new Error(reason);
  }
  const stream = answer.body.pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// The decoded bytes of a URL; the most recently used are kept.
async function remembered(url, signal) {
  if (kept.has(url)) {
    const found = kept.get(url);
    kept.delete(url);
    kept.set(url, found);
    return found;
  }
  const bytes = await fetched(url, signal);
  kept.set(url, bytes);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return bytes;
}

export async function about() {
  const answer = await fetch("about.json", { cache: "no-cache" });
  if (!answer.ok) throw new Error(`about.json: ${answer.status}`);
  return answer.json();
}

export async function stations() {
  const answer = await fetch("stations.json", { cache: "no-cache" });
  return answer.ok ? answer.json() : [];
}

export async function tile(layer, day, z, x, y, signal) {
  const url = `tiles/${layer.name}/${day.date}/${z}/${x}/${y}.bin?v=${day.version}`;
  return new TYPES[layer.dtype](await remembered(url, signal));
}

// Number of the pixel (row by row) at every place of a tile; -1 outside the maps.
export async function pixels(z, x, y, signal) {
  return new Int32Array(await remembered(`pixels/${z}/${x}/${y}.bin`, signal));
}

// Brightness of the terrain, 1 to 255; 0 where there is none.
export async function hillshade(z, x, y, signal) {
  return new Uint8Array(await remembered(`hillshade/${z}/${x}/${y}.bin`, signal));
}

// Stored values of one pixel over all days, by layer.
export async function series(site, row, col) {
  const side = site.block;
  const [top, left] = [Math.floor(row / side), Math.floor(col / side)];
  const high = Math.min(side, site.shape[0] - top * side);
  const wide = Math.min(side, site.shape[1] - left * side);
  const bytes = await remembered(`series/${top}/${left}.bin?v=${site.version}`);
  const at = (row - top * side) * wide + (col - left * side);
  const found = {};
  let offset = 0;
  for (const name of site.series) {
    const Type = TYPES[site.layers.find((layer) => layer.name === name).dtype];
    const count = site.days.length * high * wide;
    const values = new Type(bytes.slice(offset, offset + count * Type.BYTES_PER_ELEMENT));
    found[name] = site.days.map((_, day) => values[day * high * wide + at]);
    offset += count * Type.BYTES_PER_ELEMENT;
  }
  return found;
}
