/** UTF-8 and back, strict, without platform classes. Ill-formed input is reported by its place, never replaced. */

/** UTF-8 of `text`, or the index of the first surrogate that has no partner. */
export function encodeUtf8(text: string): Uint8Array<ArrayBuffer> | { readonly malformedAt: number } {
  const bytes = new Uint8Array(3 * text.length);
  let to = 0;
  for (let at = 0; at < text.length; at++) {
    const point = text.codePointAt(at) ?? 0;
    if (point < 0x80) {
      bytes[to++] = point;
      continue;
    }
    if (point >= 0xd800 && point < 0xe000) return { malformedAt: at };
    if (point < 0x800) bytes[to++] = 0xc0 | (point >> 6);
    else {
      if (point < 0x10000) bytes[to++] = 0xe0 | (point >> 12);
      else {
        bytes[to++] = 0xf0 | (point >> 18);
        bytes[to++] = 0x80 | ((point >> 12) & 0x3f);
        at++;
      }
      bytes[to++] = 0x80 | ((point >> 6) & 0x3f);
    }
    bytes[to++] = 0x80 | (point & 0x3f);
  }
  return bytes.slice(0, to);
}

/** The text of `bytes` (a byte order mark stays), or the offset of the first byte that does not belong to well-formed UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | { readonly malformedAt: number } {
  const parts: string[] = [];
  let units: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const { point, length } = codePointAt(bytes, at);
    if (point < 0) return { malformedAt: at };
    if (point < 0x10000) units.push(point);
    else units.push(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff));
    if (units.length >= 4096) {
      parts.push(String.fromCharCode(...units));
      units = [];
    }
    at += length;
  }
  parts.push(String.fromCharCode(...units));
  return parts.join('');
}

/** The text of `bytes` with U+FFFD for every byte that does not belong to well-formed UTF-8. For showing what a model wrote. */
export function decodeUtf8Leniently(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const { point, length } = codePointAt(bytes, at);
    text += point < 0 ? '\ufffd' : String.fromCodePoint(point);
    at += point < 0 ? 1 : length;
  }
  return text;
}

/** Code point that starts at `at`, and its bytes; −1 if none does. */
function codePointAt(bytes: Uint8Array, at: number): { readonly point: number; readonly length: number } {
  const lead = bytes[at] ?? 0;
  const length = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return { point: -1, length: 1 };
  let point = length === 1 ? lead : lead & (0x7f >> length);
  for (let i = 1; i < length; i++) {
    const next = bytes[at + i] ?? 0;
    if ((next & 0xc0) !== 0x80) return { point: -1, length: 1 };
    point = (point << 6) | (next & 0x3f);
  }
  const overlong = (length === 3 && point < 0x800) || (length === 4 && (point < 0x10000 || point > 0x10ffff));
  return overlong || (point >= 0xd800 && point < 0xe000) ? { point: -1, length: 1 } : { point, length };
}
