import { lchown, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { EmbeddedPostgresError, errorCode } from "./embedded-error.js";

/** Whom the server runs as. `{}`: as ourselves. Fits into the options of `spawn`. */
export type ServerUser = { uid: number; gid: number } | Record<string, never>;

/**
 * PostgreSQL refuses to run as root, so root lends it an account without rights that is there already: the owner of the
 * data once there is any, else `postgres`, else `nobody`.
 */
export async function chooseServerUser(cluster: string): Promise<ServerUser> {
  const own = process.getuid?.();
  if (own === undefined)
    throw new EmbeddedPostgresError(
      `The embedded PostgreSQL does not run on ${process.platform}: set DATABASE_URL.`,
    );
  const owner = await stat(cluster).catch((error) => {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (own !== 0) {
    if (owner && owner.uid !== own)
      throw new EmbeddedPostgresError(
        `${cluster} belongs to user id ${owner.uid}, this process runs as ${own}: ` +
          "start as that user or as root, or give this process its own DATA_DIR.",
      );
    return {};
  }
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const user = await unprivilegedAccount();
  // Data that root copied or restored is root's.
  if (owner) await giveTree(cluster, user.uid, user.gid);
  return user;
}

async function unprivilegedAccount(): Promise<{ uid: number; gid: number }> {
  const accounts = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = accounts.find(([account]) => account === name) ?? [];
    if (Number(uid) > 0 && Number(gid) > 0) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new EmbeddedPostgresError(
    "PostgreSQL does not run as root, and this system has neither a user 'postgres' nor 'nobody': " +
      "start as another user or set DATABASE_URL.",
  );
}

async function giveTree(folder: string, uid: number, gid: number): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true })) await lchown(join(folder, entry), uid, gid);
  await lchown(folder, uid, gid);
}
