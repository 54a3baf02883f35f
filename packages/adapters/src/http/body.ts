/**
 * Reading bodies within a limit, on either side of a request; and the text form of bytes in headers.
 */
import { MusterError } from '@muster/protocol';

/**
 * All bytes of `body`, at most `maxBytes`: a longer one is refused as soon as its declared or actual length shows (BYTES_TOO_LARGE).
 * `declaredLength` is the Content-Length header, if any.
 */
export async function readBody(
  body: AsyncIterable<Uint8Array> | null,
  declaredLength: string | null | undefined,
  maxBytes: number,
): Promise<Uint8Array> {
  const tooLarge = (bytes: number): MusterError =>
    new MusterError('BYTES_TOO_LARGE', `a body of ${bytes} bytes or more, at most ${maxBytes}`, { bytes, maxBytes });
  const declared = Number(declaredLength ?? 0);
  if (declared > maxBytes) throw tooLarge(declared);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge(length);
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** The chunks of `stream`; unlike the stream itself, iterable in every browser. Stopping early cancels it. */
export async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Base64url without padding (RFC 4648 §5). */
export function toBase64Url(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const digits = Math.min(4, bytes.length - i + 1);
    for (let d = 0; d < digits; d++) text += alphabet.charAt((group >> (18 - 6 * d)) & 63);
  }
  return text;
}

/** Bytes of base64url `text`, or null where it is not exactly what `toBase64Url` writes. */
export function fromBase64Url(text: string): Uint8Array | null {
  const bytes = new Uint8Array(Math.floor((text.length * 6) / 8));
  let bits = 0;
  let held = 0;
  let length = 0;
  for (const character of text) {
    const digit = alphabet.indexOf(character);
    if (digit < 0) return null;
    bits = ((bits << 6) | digit) & 0xfff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes[length++] = bits >> held;
    }
  }
  return toBase64Url(bytes) === text ? bytes : null;
}
