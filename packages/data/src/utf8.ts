/** UTF-8 to text, strict, without platform classes. Not an encoder. */

/** The text of `bytes` (a byte order mark is dropped), or the offset of the first byte that is not well-formed UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | { readonly malformedAt: number } {
  const parts: string[] = [];
  let units: number[] = [];
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  while (at < bytes.length) {
    const lead = bytes[at] ?? 0;
    const extra =
      lead < 0x80 ? 0 : lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : -1;
    if (extra < 0 || at + extra >= bytes.length) return { malformedAt: at };
    let point = extra === 0 ? lead : lead & (0x3f >> extra);
    for (let i = 1; i <= extra; i++) {
      const next = bytes[at + i] ?? 0;
      if ((next & 0xc0) !== 0x80) return { malformedAt: at };
      point = (point << 6) | (next & 0x3f);
    }
    const overlong = (extra === 2 && point < 0x800) || (extra === 3 && (point < 0x10000 || point > 0x10ffff));
    if (overlong || (point >= 0xd800 && point < 0xe000)) return { malformedAt: at };
    if (point < 0x10000) units.push(point);
    else units.push(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff));
    if (units.length >= 4096) {
      parts.push(String.fromCharCode(...units));
      units = [];
    }
    at += extra + 1;
  }
  parts.push(String.fromCharCode(...units));
  return parts.join('');
}
