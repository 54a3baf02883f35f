import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: [
      'test/**/*.test.ts',
      'packages/*/test/**/*.test.ts',
      'apps/*/test/**/*.test.ts',
      'contracts/test/**/*.test.ts',
      'kernels/test/**/*.test.ts',
      'e2e/**/*.test.ts',
    ],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // Two cores: forks share them with the chain and trainers that some tests start.
    maxWorkers: 2,
  },
});
