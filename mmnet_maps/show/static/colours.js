// Palettes that are told apart with any kind of colour vision, and the colouring of a tile of stored values.

const STOPS = {
  "dry to wet": ["#6b3410", "#b5762f", "#e9cf97", "#d5ebe4", "#62b0cf", "#1f6aa8", "#0a2a66"],
  viridis: ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"],
  cividis: ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"],
  "yellow to red": ["#ffffcc", "#ffeda0", "#fed976", "#feb24c", "#fd8d3c", "#fc4e2a", "#e31a1c", "#bd0026", "#800026"],
  "drier, wetter": ["#6b3410", "#b5762f", "#e9cf97", "#f7f7f7", "#a9d3e4", "#3a86bd", "#0a2a66"],
};
export const PALETTES = Object.keys(STOPS).filter((name) => name !== "drier, wetter");
export const MISSING = "#b9b9b9";
const tables = new Map();

const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// 256 colours as one RGBA word each, as the little-endian words of an image want them.
function table(name) {
  if (!tables.has(name)) {
    const stops = STOPS[name].map(channels);
    const words = new Uint32Array(256);
    for (let i = 0; i < 256; i++) {
      const at = (i / 255) * (stops.length - 1);
      const low = Math.min(Math.floor(at), stops.length - 2);
      const [r, g, b] = stops[low].map((v, k) => Math.round(v + (stops[low + 1][k] - v) * (at - low)));
      words[i] = word([r, g, b]);
    }
    tables.set(name, words);
  }
  return tables.get(name);
}

const word = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const GREY = word(channels(MISSING));

export function css(name, share) {
  const w = table(name)[Math.round(255 * Math.min(1, Math.max(0, share)))];
  return `rgb(${w & 255} ${(w >> 8) & 255} ${(w >> 16) & 255})`;
}

// Colours of values from `low` to `high` (physical), relative to those of another day if `base` is given.
export function colourValues(stored, layer, palette, low, high, base, inside) {
  const words = table(palette);
  const out = new Uint32Array(stored.length);
  const factor = (255 / (high - low)) * layer.scale;
  const shift = (255 / (high - low)) * (low - (base ? 0 : layer.offset));
  for (let i = 0; i < stored.length; i++) {
    if (!inside[i]) continue;
    const value = stored[i];
    if (value === layer.missing || value !== value || (base && (base[i] === layer.missing || base[i] !== base[i]))) {
      out[i] = GREY;
      continue;
    }
    const at = (base ? value - base[i] : value) * factor - shift;
    out[i] = words[at < 0 ? 0 : at > 255 ? 255 : Math.round(at)];
  }
  return out;
}

// Greys of the brightness of the terrain.
export function colourShade(bright) {
  return Uint32Array.from(bright, (value) => (value ? word([value, value, value]) : 0));
}

// Colours of the first bit that is set; `flags` come in the order of the bits.
export function colourBits(stored, flags, clear, inside) {
  const out = new Uint32Array(stored.length);
  const paint = flags.map((flag) => [flag.mask, word(channels(flag.colour))]);
  const plain = word(channels(clear));
  for (let i = 0; i < stored.length; i++) {
    if (!inside[i]) continue;
    out[i] = plain;
    for (const [mask, colour] of paint) {
      if (stored[i] & mask) {
        out[i] = colour;
        break;
      }
    }
  }
  return out;
}
