import { expect, it } from 'vitest';
import { committedModule, generateModules } from '../build.ts';

it('the committed WebAssembly is, byte for byte, what the sources give', async () => {
  for (const [name, text] of Object.entries(await generateModules())) expect(text, name).toBe(committedModule(name));
});
