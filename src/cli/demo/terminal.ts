const BAR_WIDTH = 28;
const REDRAW_MS = 100;
/** Where nobody watches (a pipe, a build log), a line now and then is enough. */
const LINE_EVERY_MS = 5_000;

export const formatCount = (value: number): string => Math.round(value).toLocaleString("en-US");

/** A bar that moves on a terminal, and a line every few seconds elsewhere. */
export function createProgress(label: string) {
  const live = process.stdout.isTTY === true;
  let shownAt = performance.now();
  const line = (fraction: number, note: string) => {
    const done = Math.round(Math.min(1, Math.max(0, fraction)) * BAR_WIDTH);
    const bar = "█".repeat(done) + "░".repeat(BAR_WIDTH - done);
    return `  ${label.padEnd(9)} ${bar} ${String(Math.floor(fraction * 100)).padStart(3)} %  ${note}`;
  };
  const clear = () => {
    if (live) process.stdout.write("\r\x1b[2K");
  };
  return {
    update(fraction: number, note: string): void {
      const now = performance.now();
      if (now - shownAt < (live ? REDRAW_MS : LINE_EVERY_MS)) return;
      shownAt = now;
      if (!live) console.log(line(fraction, note));
      else process.stdout.write(`\r\x1b[2K${line(fraction, note).slice(0, process.stdout.columns - 1)}`);
    },
    /** A line that stays, above the bar. */
    say(text: string): void {
      clear();
      console.log(text);
    },
    done(note: string): void {
      clear();
      console.log(line(1, note));
    },
    clear,
  };
}

/** Columns as wide as their widest cell; all but the first are numbers and stand to the right. */
export function printTable(head: string[], rows: string[][]): void {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  );
  for (const row of [head, widths.map((width) => "─".repeat(width)), ...rows]) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!),
    );
    console.log(`  ${cells.join("  ")}`);
  }
}
