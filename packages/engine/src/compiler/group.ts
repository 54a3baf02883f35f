/**
 * A group of element-wise operations over one iteration shape, run block by block as one kernel call.
 *
 * Intermediates live in block registers; operands that are dense are read in place, others are loaded by their strides, and
 * single elements are spread over a register once.
 */
import type { DType } from '../program.ts';
import { opcodes } from '../wasm/generated/kernels.ts';
import { addressOf, type Emission, type Instruction, type TapeEntry } from './instruction.ts';
import { propagatesNaN } from './opcode.ts';
import { at, type Buffer, coalesce, elementBytes, isDense, isSingle, sizeOf, type View } from './view.ts';

/** Elements of one block: a register is 2 KiB, so a dozen of them stay in the first cache. */
export const blockElements = 512;
/** Nodes after which a group takes no more: each may need four registers, which fit in a thread's scratch memory. */
export const maxGroupNodes = 48;
export const registerBytes = blockElements * 4;

/** One element-wise operation inside a group. */
export interface Node {
  readonly opcode: number;
  readonly operation: number;
  readonly dtype: DType;
  readonly operands: readonly (Node | View)[];
  /** Where the result is kept when something outside the group needs it. */
  out: View | null;
}

export interface Group {
  readonly shape: readonly number[];
  readonly nodes: Node[];
}

export function isNode(operand: Node | View): operand is Node {
  return 'opcode' in operand;
}

/** Where an operand lies, as a record holds it: two words of an address or a register, and the byte step per element. */
interface Place {
  readonly words: readonly [number, number, number];
  readonly register: number | null;
}

/** High word of a register's address; the low one is its offset in the thread's scratch memory. */
const registerMark = 0xffff_ffff;

const nothing = [0, 0, 0] as const;
const nowhere: Place = { words: nothing, register: null };

function inMemory(address: readonly [number, number], step: number): Place {
  return { words: [...address, step], register: null };
}

class RegisterFile {
  readonly #free: number[] = [];
  #used = 0;

  take(): Place {
    const register = this.#free.pop() ?? this.#used++;
    return { words: [register * registerBytes, registerMark, 0], register };
  }

  release({ register }: Place): void {
    if (register !== null) this.#free.push(register);
  }
}

/** Index of the last node that reads each node or view. */
function lastReaders(nodes: readonly Node[]): Map<Node | string, number> {
  const last = new Map<Node | string, number>();
  nodes.forEach((node, index) => {
    for (const operand of node.operands) last.set(isNode(operand) ? operand : viewKey(operand), index);
  });
  return last;
}

const bufferNumbers = new WeakMap<Buffer, number>();
let nextBufferNumber = 0;

/** Equal for views of the same elements in the same order. */
function viewKey(view: View): string {
  let number = bufferNumbers.get(view.buffer);
  if (number === undefined) {
    number = nextBufferNumber++;
    bufferNumbers.set(view.buffer, number);
  }
  return `${number}:${view.offset}:${elementBytes(view.dtype)}:${view.strides.join(',')}`;
}

/** The one operand of `node` that is a node of `opcode` which only `node` reads, and the other operands; null if there is none. */
function absorbable(node: Node, opcode: number, readers: ReadonlyMap<Node, number>): readonly [Node, readonly (Node | View)[]] | null {
  for (const [index, operand] of node.operands.entries()) {
    if (isNode(operand) && operand.opcode === opcode && operand.out === null && readers.get(operand) === 1) {
      return [operand, node.operands.toSpliced(index, 1)];
    }
  }
  return null;
}

/** Pairs of operations that one record of the interpreter does, each rounded as before: outer, inner, both, and which operands come first. */
const pairs = [
  { outer: opcodes.ADD_F32, inner: opcodes.NEG_F32, both: opcodes.SUB_F32, innerFirst: false },
  { outer: opcodes.MUL_F32, inner: opcodes.RECIPROCAL_F32, both: opcodes.DIVIDE_F32, innerFirst: false },
  { outer: opcodes.ADD_F32, inner: opcodes.MUL_F32, both: opcodes.MUL_ADD_F32, innerFirst: true },
  { outer: opcodes.MUL_F32, inner: opcodes.ADD_F32, both: opcodes.ADD_MUL_F32, innerFirst: true },
] as const;

/** `nodes` with pairs of operations joined: fewer passes over the registers, the same roundings. Results keep their nodes' places. */
function condensed(nodes: readonly Node[]): Node[] {
  const readers = new Map<Node, number>();
  for (const { operands } of nodes)
    for (const operand of operands) if (isNode(operand)) readers.set(operand, (readers.get(operand) ?? 0) + 1);
  const absorbed = new Set<Node>();
  const takers = new Set<Node>();
  const joined = nodes.map((node) => {
    for (const { outer, inner, both, innerFirst } of pairs) {
      if (node.opcode !== outer) continue;
      const found = absorbable(node, inner, readers);
      // An operand that has taken in its own keeps them.
      if (found === null || takers.has(found[0])) continue;
      const [operand, others] = found;
      absorbed.add(operand);
      takers.add(node);
      return { ...node, opcode: both, operands: innerFirst ? [...operand.operands, ...others] : [...others, ...operand.operands] };
    }
    return node;
  });
  const made = new Map<Node, Node>();
  joined.forEach((node, index) => {
    const operands = node.operands.map((operand) => (isNode(operand) ? (made.get(operand) ?? operand) : operand));
    if (!absorbed.has(nodes[index] as Node)) made.set(nodes[index] as Node, { ...node, operands });
  });
  return [...made.values()];
}

/** Elements after which `view` repeats itself, innermost axes dense and all others standing still; null if it does not. */
function periodOf(view: View): number | null {
  const { shape, strides } = coalesce({ shape: view.shape, strides: [view.strides] });
  const [outer = -1, inner = -1] = strides[0] ?? [];
  return shape.length === 2 && outer === 0 && inner === 1 ? at(shape, 1) : null;
}

/**
 * Elements of one block: as many as fit a register, and a multiple of the longest period of a view, which is then loaded once for
 * all blocks. A short tensor has a short block, so that setup does not spread over more than is read.
 */
function blockOf(total: number, nodes: readonly Node[]): number {
  const most = Math.min(blockElements, Math.max(Math.ceil(total / 16) * 16, 16));
  const periods = nodes.flatMap(({ operands }) => operands.map((operand) => (isNode(operand) ? 0 : (periodOf(operand) ?? 0))));
  const longest = Math.max(0, ...periods.filter((period) => period <= most && period % 16 === 0));
  return longest === 0 ? most : Math.floor(most / longest) * longest;
}

/** A result must be looked at when it leaves the group or a reader could hide its NaN. */
function mustCheck(node: Node, nodes: readonly Node[]): boolean {
  if (node.dtype !== 'float32') return false;
  if (node.out !== null) return true;
  const readers = nodes.filter((other) => other.operands.includes(node));
  return readers.length === 0 || readers.some((reader) => !propagatesNaN(reader.opcode));
}

function emitGroup(shape: readonly number[], nodes: readonly Node[], { table }: Emission): TapeEntry[] {
  const total = sizeOf(shape);
  const block = blockOf(total, nodes);
  const repeats = (view: View): boolean => {
    const period = periodOf(view);
    return period !== null && block % period === 0;
  };
  /** Loaded once for all blocks. */
  const isSetup = (view: View): boolean => isSingle(view) || (!isDense(view) && repeats(view));
  const file = new RegisterFile();
  const last = lastReaders(nodes);
  const setup: number[] = [];
  const body: number[] = [];
  const places = new Map<Node | string, Place>();
  let operations = 0;
  let setups = 0;

  const placeView = (view: View): Place => {
    const key = viewKey(view);
    const known = places.get(key);
    if (known !== undefined) return known;
    const bytes = elementBytes(view.dtype);
    let place: Place;
    if (isSingle(view)) {
      // Setup runs once for all blocks, so its register is never given back.
      place = file.take();
      setup.push(bytes === 4 ? opcodes.SPLAT4 : opcodes.SPLAT1, 0, ...place.words, ...addressOf(view), 0, ...nothing, ...nothing);
      setups++;
    } else if (isDense(view)) {
      place = inMemory(addressOf(view), bytes);
    } else {
      place = file.take();
      const axes = coalesce({ shape: view.shape, strides: [view.strides] });
      const descriptor = table([...addressOf(view), axes.shape.length, ...axes.shape, ...(axes.strides[0] ?? [])]);
      const load = [bytes === 4 ? opcodes.LOAD4 : opcodes.LOAD1, 0, ...place.words, ...descriptor, 0, ...nothing, ...nothing];
      if (repeats(view)) {
        setup.push(...load);
        setups++;
      } else {
        body.push(...load);
        operations++;
      }
    }
    places.set(key, place);
    return place;
  };

  // Setup registers first: a register freed by the body must not be taken for one of them.
  for (const node of nodes) for (const operand of node.operands) if (!isNode(operand) && isSetup(operand)) placeView(operand);
  nodes.forEach((node, index) => {
    const operands = node.operands.map((operand) => (isNode(operand) ? (places.get(operand) ?? nowhere) : placeView(operand)));
    const [a = nowhere, b = nowhere, c = nowhere] = operands;
    const out = node.out === null ? file.take() : inMemory(addressOf(node.out), elementBytes(node.dtype));
    places.set(node, out);
    body.push(node.opcode, mustCheck(node, nodes) ? 1 : 0, ...out.words, ...a.words, ...b.words, ...c.words);
    operations++;
    for (const operand of new Set(node.operands)) {
      const key = isNode(operand) ? operand : viewKey(operand);
      const place = places.get(key);
      const isScratch = isNode(operand) ? operand.out === null : !isSetup(operand) && !isDense(operand);
      if (isScratch && last.get(key) === index && place !== undefined) {
        file.release(place);
        last.delete(key);
      }
    }
    if (node.out === null && !last.has(node)) file.release(out);
  });
  return [{ kernel: 'elementwise', words: [total, block, setups, operations, ...setup, ...body] }];
}

/** The view covers its whole buffer in order, so that element i of an operand lies where element i of a result would. */
function fillsBuffer(view: View): boolean {
  return view.offset === 0 && isDense(view) && sizeOf(view.shape) * elementBytes(view.dtype) === view.buffer.bytes;
}

/**
 * Results that may overwrite an operand: of equal size, read in order only, and last by the operation that gives the result or an
 * earlier one. Blocks are then read before they are written.
 */
function reusesOf(nodes: readonly Node[]): { readonly from: Buffer; readonly to: Buffer }[] {
  const last = new Map<Buffer, number>();
  const barred = new Set<Buffer>();
  nodes.forEach(({ operands }, index) => {
    for (const operand of operands) {
      if (isNode(operand)) continue;
      if (fillsBuffer(operand)) last.set(operand.buffer, index);
      else barred.add(operand.buffer);
    }
  });
  const free = [...last].filter(([buffer]) => !barred.has(buffer));
  const taken = new Set<Buffer>();
  return nodes.flatMap(({ out }, index) => {
    if (out === null || !fillsBuffer(out)) return [];
    const found = free.find(([buffer, reader]) => reader <= index && buffer.bytes === out.buffer.bytes && !taken.has(buffer));
    if (found === undefined) return [];
    taken.add(found[0]);
    return [{ from: found[0], to: out.buffer }];
  });
}

/** The kernel call for `group`. */
export function groupInstruction(group: Group): Instruction {
  const nodes = condensed(group.nodes);
  const reads = group.nodes.flatMap((node) => node.operands.flatMap((operand) => (isNode(operand) ? [] : [operand.buffer])));
  const writes = group.nodes.flatMap((node) => (node.out === null ? [] : [node.out.buffer]));
  return {
    operation: group.nodes.reduce((least, node) => Math.min(least, node.operation), Infinity),
    reads: [...new Set(reads)],
    writes,
    reuses: reusesOf(nodes),
    emit: (emission) => emitGroup(group.shape, nodes, emission),
  };
}
