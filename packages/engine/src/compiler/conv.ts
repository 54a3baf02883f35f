/**
 * Convolutions: padded input, then one product over its windows; without the holes of a dilated input where that is exact.
 *
 * A hole or a padded position contributes fl(+0 · w). With w finite that is ±0, and adding ±0 to an accumulator that began at +0
 * changes no bit, so the gradient of a strided convolution need not multiply by the zeros between its elements: outputs that
 * meet the same kernel positions form a class, and each class is a small convolution of the undilated input. If any weight is not
 * finite the holes count (0 · ∞ is a NaN) and the plain way is taken, decided in every run.
 */
import type { ParamsOf } from '../program.ts';
import { addressOf, type Instruction, type TapeEntry } from './instruction.ts';
import { padInstructions } from './movement.ts';
import type { Planner } from './primitives.ts';
import { convPlan, productInstruction } from './product.ts';
import { at, shrinkView, sizeOf, type View } from './view.ts';

type ConvParams = ParamsOf<'conv'>;

/** One class of outputs along one axis: o = first + step · t, kernel positions k = kernelFirst + kernelStep · j, input base + t + j · dilation. */
interface AxisClass {
  readonly first: number;
  readonly step: number;
  readonly count: number;
  readonly kernelFirst: number;
  readonly kernelStep: number;
  readonly kernelCount: number;
  readonly base: number;
  readonly dilation: number;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** The classes of one axis whose input is dilated by `step`, with unit stride. */
function axisClasses(outputs: number, kernel: number, step: number, dilation: number, low: number): AxisClass[] {
  const kernelStep = step / greatestDivisor(step, dilation);
  return Array.from({ length: Math.min(step, outputs) }, (_, first) => {
    let kernelFirst = 0;
    while (kernelFirst < kernelStep && (first + kernelFirst * dilation - low) % step !== 0) kernelFirst++;
    const meets = kernelFirst < kernelStep && kernelFirst < kernel;
    return {
      first,
      step,
      count: Math.ceil((outputs - first) / step),
      kernelFirst: meets ? kernelFirst : 0,
      kernelStep,
      kernelCount: meets ? Math.ceil((kernel - kernelFirst) / kernelStep) : 0,
      base: meets ? (first + kernelFirst * dilation - low) / step : 0,
      dilation: (dilation * kernelStep) / step,
    };
  });
}

/** Every choice of one element of each list. */
function choices<T>(lists: readonly (readonly T[])[]): T[][] {
  return lists.reduce<T[][]>((made, list) => made.flatMap((start) => list.map((item) => [...start, item])), [[]]);
}

/** The view with axes from `lead` on starting at, stepping by and counting what `axes` say. */
function restride(
  view: View,
  lead: number,
  axes: readonly { readonly start: number; readonly step: number; readonly count: number }[],
): View {
  const shape = [...view.shape];
  const strides = [...view.strides];
  let { offset } = view;
  axes.forEach(({ start, step, count }, index) => {
    const stride = at(view.strides, lead + index);
    offset += start * stride;
    strides[lead + index] = step * stride;
    shape[lead + index] = count;
  });
  return { ...view, shape, strides, offset };
}

interface Conv {
  readonly x: View;
  readonly w: View;
  readonly out: View;
  readonly params: ConvParams;
  readonly operation: number;
  readonly planner: Planner;
}

/** The input padded by `low` and `high` zeros after spreading by `steps`, as instructions and a view. Negative amounts crop. */
function padded(
  { x, operation, planner }: Conv,
  lead: number,
  low: readonly number[],
  high: readonly number[],
  steps: readonly number[],
): [Instruction[], View] {
  if ([...low, ...high].every((amount) => amount === 0) && steps.every((step) => step === 1)) return [[], x];
  const amount = (list: readonly number[], axis: number): number => list[axis - lead] ?? 0;
  const spread = x.shape.map((_, axis) => steps[axis - lead] ?? 1);
  const start = x.shape.map((_, axis) => Math.max(amount(low, axis), 0));
  const shape = x.shape.map((extent, axis) => {
    const size = extent === 0 ? 0 : (extent - 1) * at(spread, axis) + 1;
    return size + at(start, axis) + Math.max(amount(high, axis), 0);
  });
  const whole = planner.dense({ dtype: x.dtype, shape });
  const view = shrinkView(
    whole,
    shape.map((extent, axis) => [Math.max(-amount(low, axis), 0), extent - Math.max(-amount(high, axis), 0)]),
  );
  return [padInstructions(x, whole, start, spread, operation), view];
}

function plainConv(conv: Conv): Instruction[] {
  const { w, out, params, operation } = conv;
  const low = params.padding.map(([before]) => before);
  const high = params.padding.map(([, after]) => after);
  const [instructions, input] = padded(conv, params.vmapDims + 2, low, high, params.lhsDilation);
  return [...instructions, productInstruction(convPlan(input, w, out, params.vmapDims, params.strides, params.rhsDilation), operation)];
}

/** One product for each class of outputs. */
function classConv(conv: Conv): Instruction[] {
  const { x, w, out, params, operation } = conv;
  const lead = params.vmapDims + 2;
  const axes = params.lhsDilation.map((step, index) =>
    axisClasses(
      at(out.shape, lead + index),
      at(w.shape, lead + index),
      step,
      at(params.rhsDilation, index),
      at(params.padding[index] ?? [], 0),
    ),
  );
  const low = axes.map((classes) => Math.max(0, ...classes.map(({ base }) => -base)));
  const high = axes.map((classes, index) => {
    const ends = classes.map(({ base, count, kernelCount, dilation }) =>
      kernelCount === 0 ? 0 : base + count + (kernelCount - 1) * dilation,
    );
    return Math.max(0, ...ends.map((end) => end - at(x.shape, lead + index)));
  });
  const ones = axes.map(() => 1);
  const [instructions, input] = padded(conv, lead, low, high, ones);
  for (const chosen of choices(axes)) {
    const outPart = restride(out, lead, chosen.map(({ first, step, count }) => ({ start: first, step, count }))); // prettier-ignore
    const wPart = restride(w, lead, chosen.map((c) => ({ start: c.kernelFirst, step: c.kernelStep, count: c.kernelCount }))); // prettier-ignore
    const xPart = restride(input, lead, chosen.map(({ base }, index) => ({ start: base + at(low, index), step: 1, count: 1 }))); // prettier-ignore
    const dilation = chosen.map((c) => c.dilation);
    instructions.push(productInstruction(convPlan(xPart, wPart, outPart, params.vmapDims, ones, dilation), operation));
  }
  return instructions;
}

/** The run of memory that holds all elements of `view`: a view at its first element, and the number of elements. */
function span(view: View): readonly [View, number] {
  let least = 0;
  let most = 0;
  view.shape.forEach((extent, axis) => {
    const reach = (extent - 1) * at(view.strides, axis);
    least += Math.min(reach, 0);
    most += Math.max(reach, 0);
  });
  return [{ ...view, offset: view.offset + least }, sizeOf(view.shape) === 0 ? 0 : most - least + 1];
}

/** The kernel calls of a convolution of `x` and `w` into the dense `out`. */
export function convInstructions(conv: Conv): Instruction[] {
  const { x, w, out, params, operation } = conv;
  const plain = plainConv(conv);
  const dilated = params.lhsDilation.some((step) => step > 1) && params.strides.every((step) => step === 1);
  if (!dilated || sizeOf(x.shape) === 0 || sizeOf(out.shape) === 0) return plain;
  const classes = classConv(conv);
  const [first, count] = span(w);
  const all = [...plain, ...classes];
  return [
    {
      operation,
      reads: [...new Set(all.flatMap(({ reads }) => reads))],
      writes: [...new Set(all.flatMap(({ writes }) => writes))],
      emit: (emission) => {
        const [plainCalls, classCalls] = [plain, classes].map((list) => list.flatMap((instruction) => instruction.emit(emission))) as [
          TapeEntry[],
          TapeEntry[],
        ];
        const choose: TapeEntry = { kernel: 'choose', words: [...addressOf(first), count, plainCalls.length + 1, 0] };
        return [choose, ...plainCalls, { kernel: 'jump', words: [classCalls.length] }, ...classCalls];
      },
    },
  ];
}
