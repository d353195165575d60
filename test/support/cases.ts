/** Whether there are so many cases that what is rare has been met: among few, chance may miss it. */
export const isThorough = process.env.TEST_FULL === "1";

/** How many cases a property is tried with: in `npm test`, in `npm run test:full`, or as `<name>_CASES` says. */
export function casesOf(name: string, { few, many }: { few: number; many: number }): number {
  const given = process.env[`${name}_CASES`];
  if (given !== undefined) return Number(given);
  return isThorough ? many : few;
}
