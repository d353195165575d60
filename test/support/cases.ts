/** How many cases a property is tried with: in `npm test`, in `npm run test:full`, or as `<name>_CASES` says. */
export function casesOf(name: string, { few, many }: { few: number; many: number }): number {
  const given = process.env[`${name}_CASES`];
  if (given !== undefined) return Number(given);
  return process.env.TEST_FULL === "1" ? many : few;
}
