import type { Reporter, TestModule } from "vitest/node";

const MINUTE_MS = 60_000;
const NAMED_AFTER_MS = 5 * MINUTE_MS;

/** Names the files that take long, each minute: one that never ends is then the last thing that is read of a run. */
export class UnfinishedFiles implements Reporter {
  readonly #since = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  onTestRunStart(): void {
    this.#timer = setInterval(() => this.#nameThem(), MINUTE_MS).unref();
  }

  onTestModuleStart({ relativeModuleId }: TestModule): void {
    this.#since.set(relativeModuleId, Date.now());
  }

  onTestModuleEnd({ relativeModuleId }: TestModule): void {
    this.#since.delete(relativeModuleId);
  }

  onTestRunEnd(): void {
    clearInterval(this.#timer);
  }

  #nameThem(): void {
    for (const [file, since] of this.#since) {
      const passed = Date.now() - since;
      if (passed >= NAMED_AFTER_MS)
        console.log(`${file} has been running for ${Math.floor(passed / MINUTE_MS)} min`);
    }
  }
}
