/** One mistake in an input: where it is (`events[3].type`), a stable code and a sentence that names the limit. */
export interface InputIssue {
  path: string;
  code: string;
  message: string;
}

/** An expected failure, shown to the caller as an RFC 9457 problem document. The status lives on the class. */
export class AppError extends Error {
  readonly status: number = 500;
  readonly title: string = "Internal error";
  readonly code: string;
  readonly headers: Record<string, string>;
  readonly issues: InputIssue[] | undefined;

  constructor(
    code: string,
    message: string,
    options: { cause?: unknown; headers?: Record<string, string>; issues?: InputIssue[] } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.headers = options.headers ?? {};
    this.issues = options.issues;
  }
}

export class InvalidInput extends AppError {
  override readonly status = 400;
  override readonly title = "Invalid input";

  /** For several mistakes at once; the message lists the first one. */
  static of(issues: InputIssue[]): InvalidInput {
    const [first] = issues;
    const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
    const at = first?.path ? `${first.path}: ` : "";
    return new InvalidInput("invalid_input", `${at}${first?.message ?? "invalid input"}${more}`, { issues });
  }
}

export class Unauthorized extends AppError {
  override readonly status = 401;
  override readonly title = "Not authenticated";
}

export class Forbidden extends AppError {
  override readonly status = 403;
  override readonly title = "Not allowed";
}

export class NotFound extends AppError {
  override readonly status = 404;
  override readonly title = "Not found";
}

export class MethodNotAllowed extends AppError {
  override readonly status = 405;
  override readonly title = "Method not allowed";
}

export class RequestTimeout extends AppError {
  override readonly status = 408;
  override readonly title = "Request timeout";
}

export class Conflict extends AppError {
  override readonly status = 409;
  override readonly title = "Conflict";
}

export class Gone extends AppError {
  override readonly status = 410;
  override readonly title = "Gone";
}

export class PreconditionFailed extends AppError {
  override readonly status = 412;
  override readonly title = "Precondition failed";
}

export class TooLarge extends AppError {
  override readonly status = 413;
  override readonly title = "Too large";
}

export class UnsupportedMedia extends AppError {
  override readonly status = 415;
  override readonly title = "Unsupported media type";
}

export class RangeNotSatisfiable extends AppError {
  override readonly status = 416;
  override readonly title = "Range not satisfiable";
}

export class TooManyRequests extends AppError {
  override readonly status = 429;
  override readonly title = "Too many requests";
}

/** A dependency is away or full. Say when to come back: `headers: {"retry-after": "1"}`. */
export class Unavailable extends AppError {
  override readonly status = 503;
  override readonly title = "Unavailable";
}

/** A job that can never succeed: no retry. The code and the message are shown to whoever asked for the run. */
export class PermanentJobError extends Error {
  override readonly name = "PermanentJobError";
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
