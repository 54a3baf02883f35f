#!/usr/bin/env node
/**
 * The `muster` executable: keeps compiled code between starts, then runs the program. Halves the time a process takes to start.
 */
import { enableCompileCache } from 'node:module';

enableCompileCache();
await import('./program.ts');
