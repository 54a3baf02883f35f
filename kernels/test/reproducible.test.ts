import { expect, it } from 'vitest';
import { committedModule, generateModule } from '../build.ts';

it('the committed WebAssembly is, byte for byte, what the sources give', async () => {
  expect(await generateModule()).toBe(committedModule());
});
