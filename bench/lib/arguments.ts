/** What follows a suite's name on the command line. */

/** The value after `--name` among the arguments, or `otherwise`. */
export function option(name: string, otherwise: string): string {
  const index = process.argv.indexOf(`--${name}`);
  return index === -1 ? otherwise : (process.argv[index + 1] ?? otherwise);
}
