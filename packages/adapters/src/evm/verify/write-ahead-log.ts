/**
 * Whether a SQLite write-ahead log holds everything that was committed to it (https://sqlite.org/fileformat2.html#walformat).
 *
 * SQLite reads a log up to the first frame whose checksum fails and silently forgets what follows, which is right after a crash, where
 * nothing that follows was committed. A changed byte would therefore make committed blocks vanish without a trace; here it is found,
 * because frames of the same log that say "commit" still follow. What it cannot tell from a crash is a change in the very last
 * transaction's commit frame that also unmakes its salt.
 */

export const WAL_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC_LITTLE = 0x377f0682;
const MAGIC_BIG = 0x377f0683;

/** What is wrong with the log, or null. */
export function logProblem(log: Buffer): string | null {
  if (log.length === 0) return null;
  if (log.length < WAL_HEADER_BYTES) return 'its header is cut off';
  const magic = log.readUInt32BE(0);
  if (magic !== MAGIC_LITTLE && magic !== MAGIC_BIG) return 'it does not begin like a log';
  const littleEndian = magic === MAGIC_LITTLE;
  const pageBytes = log.readUInt32BE(8);
  let sums = checksum(log, 0, 24, littleEndian, [0, 0]);
  if (sums[0] !== log.readUInt32BE(24) || sums[1] !== log.readUInt32BE(28)) return 'the checksum of its header does not hold';
  if (pageBytes < 512 || pageBytes > 65_536) return `it speaks of pages of ${pageBytes} bytes`;
  let broken = -1;
  const frameBytes = FRAME_HEADER_BYTES + pageBytes;
  for (let frame = 0; WAL_HEADER_BYTES + (frame + 1) * frameBytes <= log.length; frame++) {
    const at = WAL_HEADER_BYTES + frame * frameBytes;
    const sameLog = log.readUInt32BE(at + 8) === log.readUInt32BE(16) && log.readUInt32BE(at + 12) === log.readUInt32BE(20);
    if (broken === -1) {
      sums = checksum(log, at, 8, littleEndian, sums);
      sums = checksum(log, at + FRAME_HEADER_BYTES, pageBytes, littleEndian, sums);
      const holds = sameLog && sums[0] === log.readUInt32BE(at + 16) && sums[1] === log.readUInt32BE(at + 20);
      if (!holds) broken = frame;
    }
    const isCommit = log.readUInt32BE(at + 4) !== 0;
    if (broken !== -1 && sameLog && isCommit) return `the checksum of frame ${broken} does not hold, and a commit was written after it`;
  }
  return null;
}

type Sums = readonly [number, number];

function checksum(bytes: Buffer, start: number, length: number, littleEndian: boolean, [first, second]: Sums): Sums {
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, length);
  for (let at = 0; at < length; at += 8) {
    first = (first + view.getUint32(at, littleEndian) + second) >>> 0;
    second = (second + view.getUint32(at + 4, littleEndian) + first) >>> 0;
  }
  return [first, second];
}
