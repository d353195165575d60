/** Why a delivery did not go through. The code is shown; what the other side said is not, it may be anybody's secret. */
export class DeliveryFailure extends Error {
  override readonly name = "DeliveryFailure";
  readonly code: string;
  /** Of HTTP or SMTP. */
  readonly status: number | undefined;
  /** No other attempt can end better. */
  readonly permanent: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(
    code: string,
    options: {
      status?: number;
      permanent?: boolean;
      retryAfterMs?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(code, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status;
    this.permanent = options.permanent ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}
