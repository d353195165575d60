/** The embedded PostgreSQL cannot do what was asked. The message is for the person at the terminal: no stack needed. */
export class EmbeddedPostgresError extends Error {
  override readonly name = "EmbeddedPostgresError";
}

export const errorCode = (error: unknown): string | undefined =>
  (error as NodeJS.ErrnoException | undefined)?.code;
