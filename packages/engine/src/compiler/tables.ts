/** Tables of 32-bit words behind the tensors of a program: descriptors and offsets that kernels read. Equal tables are stored once. */

function hashOf(words: Int32Array): number {
  let hash = words.length;
  for (const word of words) hash = Math.imul(hash ^ word, 16_777_619);
  return hash;
}

function equal(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((word, index) => word === b[index]);
}

interface Table {
  readonly address: number;
  readonly words: Int32Array;
}

export class TableWriter {
  readonly #byHash = new Map<number, Table[]>();
  /** First byte after the tables. */
  end: number;

  constructor(start: number) {
    this.end = start;
  }

  /** Byte address at which `words` will lie. */
  add(given: ArrayLike<number>): number {
    const words = Int32Array.from(given);
    const hash = hashOf(words);
    const candidates = this.#byHash.get(hash) ?? [];
    const known = candidates.find((table) => equal(table.words, words));
    if (known !== undefined) return known.address;
    const table = { address: this.end, words };
    this.#byHash.set(hash, [...candidates, table]);
    this.end += 4 * words.length;
    return table.address;
  }

  writeTo(memory: ArrayBufferLike): void {
    for (const tables of this.#byHash.values()) {
      for (const { address, words } of tables) new Int32Array(memory, address, words.length).set(words);
    }
  }
}
