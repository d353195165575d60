export type InterruptReason = "shutdown" | "timeout" | "cancelled" | "fenced";

/** The reason of an aborted job's signal: it did not fail, it was told to stop. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly why: InterruptReason;

  constructor(why: InterruptReason, message: string) {
    super(message);
    this.why = why;
  }
}
