import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import { startDeadline } from "../../deadline.js";
import { Unavailable } from "../../errors.js";
import { untilAborted } from "./drain.js";

export interface S3Settings {
  bucket: string;
  /** Before every key, with its slash; empty for none. */
  prefix: string;
  region: string;
  /** Absent: that of AWS. */
  endpoint: string | undefined;
  forcePathStyle: boolean;
  /** Absent: wherever the SDK finds them. */
  credentials: { accessKeyId: string; secretAccessKey: string } | undefined;
  /** Whether clients reach the store themselves, by URLs that we sign. */
  redirects: boolean;
}

/** How long the store may take; tests have less time. */
export interface S3Limits {
  connectMs: number;
  /** From the request to the first byte of its answer, beside what its body takes. */
  answerMs: number;
  /** The slowest that a body may go out. */
  bytesPerSecond: number;
  /** Between two pieces of a file that is read. */
  silenceMs: number;
  /** To clean up after a write that failed or was cancelled. */
  cleanupMs: number;
}

export const defaultLimits: S3Limits = {
  connectMs: 5_000,
  answerMs: 15_000,
  bytesPerSecond: 512 * 1024,
  silenceMs: 30_000,
  cleanupMs: 2_000,
};

/** After errors that may pass (5xx, slow-down, a lost connection), with the SDK's own growing pauses. */
const ATTEMPTS = 4;

type Sdk = typeof import("@aws-sdk/client-s3");

interface Loaded {
  sdk: Sdk;
  client: S3Client;
}
interface CallOptions {
  abortSignal: AbortSignal;
  requestTimeout: number;
}

export interface S3 {
  settings: S3Settings;
  limits: S3Limits;
  load(): Promise<Loaded>;
  /**
   * One call, with its retries over within `callMs(limits, bytes)` or `withinMs`. Throws the signal's reason, `isMissing` for a
   * file that is not there, and `Unavailable` for everything else.
   */
  call<Output>(
    send: (loaded: Loaded, options: CallOptions) => Promise<Output>,
    options?: { signal?: AbortSignal | undefined; bytes?: number; withinMs?: number },
  ): Promise<Output>;
}

const attemptMs = (limits: S3Limits, bytes: number) =>
  limits.answerMs + Math.ceil((bytes / limits.bytesPerSecond) * 1_000);

/** The longest that a call may take which sends so many bytes. */
export const callMs = (limits: S3Limits, bytes: number): number => ATTEMPTS * attemptMs(limits, bytes);

/** Opens nothing; the SDK is loaded, and connects, at the first call. */
export function connectS3(settings: S3Settings, limits: S3Limits): S3 {
  let loading: Promise<Loaded> | undefined;
  const load = () => {
    loading ??= import("@aws-sdk/client-s3").then((sdk) => ({
      sdk,
      client: new sdk.S3Client(clientConfig(settings, limits)),
    }));
    return loading;
  };
  return {
    settings,
    limits,
    load,
    async call(send, { signal, bytes = 0, withinMs } = {}) {
      using deadline = startDeadline(withinMs ?? callMs(limits, bytes), [signal]);
      try {
        signal?.throwIfAborted();
        const options = { abortSignal: deadline.signal, requestTimeout: attemptMs(limits, bytes) };
        return await untilAborted(send(await load(), options), deadline.signal);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (isMissing(error)) throw error;
        throw new Unavailable("file_store_unavailable", "The store for files does not answer as it should.", {
          cause: error,
          headers: { "retry-after": "5" },
        });
      }
    },
  };
}

function clientConfig(settings: S3Settings, limits: S3Limits): S3ClientConfig {
  return {
    region: settings.region,
    forcePathStyle: settings.forcePathStyle,
    ...(settings.endpoint && { endpoint: settings.endpoint }),
    ...(settings.credentials && { credentials: settings.credentials }),
    maxAttempts: ATTEMPTS,
    // Not every store knows the checksums of AWS; ours are Content-MD5 and ETag, which all of them have.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: {
      connectionTimeout: limits.connectMs,
      throwOnRequestTimeout: true,
      // It would also end the answer to somebody who reads it slowly.
      socketTimeout: 0,
    },
  };
}

/** A file that is not there; a bucket that is not is another error. */
export const isMissing = (error: unknown): boolean =>
  error instanceof Error && (error.name === "NoSuchKey" || error.name === "NotFound");

/** Whether it is the store that says so. */
export const isNamed = (error: unknown, name: string): boolean =>
  error instanceof Unavailable && (error.cause as Error | undefined)?.name === name;
