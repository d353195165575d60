import { pipeline, Readable, Transform } from "node:stream";
import { type ArtifactStore, isArtifactKey, type LiveAmong, requireArtifactKey } from "./artifact-store.js";
import { drain } from "./drain.js";
import {
  connectS3,
  defaultLimits,
  isMissing,
  isNamed,
  type S3,
  type S3Limits,
  type S3Settings,
} from "./s3-client.js";
import { startUpload } from "./s3-upload.js";

/** Artifacts as objects of one bucket, which has to be there. The SDK is loaded at the first call. */
export function createS3Store(settings: S3Settings, limits: S3Limits = defaultLimits): ArtifactStore {
  const s3 = connectS3(settings, limits);

  function objectOf(key: string): { Bucket: string; Key: string } {
    requireArtifactKey(key);
    return { Bucket: settings.bucket, Key: settings.prefix + key };
  }

  return {
    newKey: (name) => name,

    async write(key, source, signal) {
      requireArtifactKey(key);
      const upload = startUpload(s3, key, signal);
      try {
        return await drain(source, upload.send, signal);
      } catch (error) {
        await upload.abandon();
        throw error;
      }
    },

    async open(key, range) {
      const input = { ...objectOf(key), ...(range && { Range: `bytes=${range.start}-${range.end}` }) };
      try {
        const { Body } = await s3.call(({ sdk, client }, options) =>
          client.send(new sdk.GetObjectCommand(input), options),
        );
        return unlessSilent(Body as Readable, limits.silenceMs);
      } catch (error) {
        if (isMissing(error)) return undefined;
        // A range behind the end holds nothing, as on a disk.
        if (range && isNamed(error, "InvalidRange")) return Readable.from([]);
        throw error;
      }
    },

    async size(key) {
      const object = objectOf(key);
      try {
        const head = await s3.call(({ sdk, client }, options) =>
          client.send(new sdk.HeadObjectCommand(object), options),
        );
        return head.ContentLength;
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },

    async remove(key) {
      const object = objectOf(key);
      await s3.call(({ sdk, client }, options) => client.send(new sdk.DeleteObjectCommand(object), options));
    },

    async presign(key, label, forMs) {
      const object = objectOf(key);
      if (!settings.redirects) return undefined;
      const { getSignedUrl } = await import("@aws-sdk/s3-request-presigner");
      const { sdk, client } = await s3.load();
      const command = new sdk.GetObjectCommand({
        ...object,
        ResponseContentType: label.contentType,
        ResponseContentDisposition: `attachment; filename="${label.fileName}"`,
        ResponseCacheControl: "no-store",
      });
      return getSignedUrl(client, command, { expiresIn: Math.max(1, Math.floor(forMs / 1_000)) });
    },

    // Uploads are few, and some stores list them by whole keys only.
    sweep: async (prefix, liveAmong, before) =>
      (await sweepUploads(s3, liveAmong, before)) + (await sweepObjects(s3, prefix, liveAmong, before)),
  };
}

async function sweepObjects(s3: S3, prefix: string, liveAmong: LiveAmong, before: Date): Promise<number> {
  const { bucket: Bucket, prefix: ours } = s3.settings;
  const Prefix = ours + prefix;
  let removed = 0;
  let ContinuationToken: string | undefined;
  do {
    const page = await s3.call(({ sdk, client }, options) =>
      client.send(new sdk.ListObjectsV2Command({ Bucket, Prefix, ContinuationToken }), options),
    );
    const old = (page.Contents ?? []).flatMap(({ Key, LastModified }) =>
      Key && LastModified && LastModified < before ? [{ Key }] : [],
    );
    for (const { Key } of await dead(old, ours, liveAmong)) {
      await s3.call(({ sdk, client }, options) =>
        client.send(new sdk.DeleteObjectCommand({ Bucket, Key }), options),
      );
      removed++;
    }
    ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
  } while (ContinuationToken);
  return removed;
}

/** What was sent of files whose writers are gone costs money and shows in no list of objects. */
async function sweepUploads(s3: S3, liveAmong: LiveAmong, before: Date): Promise<number> {
  const { bucket: Bucket, prefix: Prefix } = s3.settings;
  let removed = 0;
  let place: { KeyMarker: string | undefined; UploadIdMarker: string | undefined } | undefined;
  do {
    const page = await s3.call(({ sdk, client }, options) =>
      client.send(new sdk.ListMultipartUploadsCommand({ Bucket, Prefix, ...place }), options),
    );
    const old = (page.Uploads ?? []).flatMap(({ Key, UploadId, Initiated }) =>
      Key && UploadId && Initiated && Initiated < before ? [{ Key, UploadId }] : [],
    );
    for (const { Key, UploadId } of await dead(old, Prefix, liveAmong)) {
      await s3
        .call(({ sdk, client }, options) =>
          client.send(new sdk.AbortMultipartUploadCommand({ Bucket, Key, UploadId }), options),
        )
        .catch((error: unknown) => {
          // Complete or aborted since it was listed.
          if (!isNamed(error, "NoSuchUpload")) throw error;
        });
      removed++;
    }
    place = page.IsTruncated
      ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
      : undefined;
  } while (place);
  return removed;
}

async function dead<T extends { Key: string }>(
  found: readonly T[],
  prefix: string,
  liveAmong: LiveAmong,
): Promise<T[]> {
  const keyOf = ({ Key }: T) => Key.slice(prefix.length);
  const ours = found.filter((object) => isArtifactKey(keyOf(object)));
  if (ours.length === 0) return [];
  const live = await liveAmong(ours.map(keyOf));
  return ours.filter((object) => !live.has(keyOf(object)));
}

/** Ends with an error when nothing comes for so long while somebody waits for it; who reads slowly has all the time. */
function unlessSilent(body: Readable, silenceMs: number): Readable {
  const guarded = new Transform({
    transform(chunk, _encoding, done) {
      timer.refresh();
      done(null, chunk);
    },
  });
  const timer = setTimeout(() => {
    if (guarded.writableNeedDrain) timer.refresh();
    else guarded.destroy(new Error(`the store has sent nothing for ${silenceMs} ms`));
  }, silenceMs);
  guarded.once("close", () => clearTimeout(timer));
  // Ends the one when the other ends; the reader of `guarded` is told of every error.
  pipeline(body, guarded, () => {});
  return guarded;
}
