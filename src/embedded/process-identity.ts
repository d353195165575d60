import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { promisify } from "node:util";

/** Fields of /proc/<pid>/stat counted from behind the command's name, which may itself hold spaces and brackets. */
const STATE_FIELD = 0;
const START_TIME_FIELD = 19;

/**
 * What tells the living process `pid` from any later process that gets the same number: its start time, with the boot
 * it belongs to. Undefined when there is no such process, or only a zombie. Safe as part of a file name.
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  return process.platform === "linux" ? linuxIdentity(pid) : psIdentity(pid);
}

async function linuxIdentity(pid: number): Promise<string | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  const fields = line?.slice(line.lastIndexOf(")") + 2).split(" ");
  const state = fields?.[STATE_FIELD];
  if (!fields || state === "Z" || state === "X") return undefined;
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return `${boot.slice(0, 8)}${fields[START_TIME_FIELD]}`;
}

async function psIdentity(pid: number): Promise<string | undefined> {
  const line = await ps(pid, "stat=,lstart=");
  return line === undefined || line.startsWith("Z") ? undefined : line.replace(/^\S+/, "").replace(/\W/g, "");
}

/**
 * Whether `pid` is the PostgreSQL server that works in the folder `cluster`; false too when there is no such process.
 * Undefined when it lives but may not be looked at.
 */
export async function isServerOf(pid: number, cluster: string): Promise<boolean | undefined> {
  if ((await processIdentity(pid)) === undefined) return false;
  if (process.platform !== "linux") {
    const command = await ps(pid, "command=");
    return command?.includes("postgres") === true && command.includes(cluster);
  }
  try {
    const [name, cwd, folder] = await Promise.all([
      readFile(`/proc/${pid}/comm`, "utf8"),
      stat(`/proc/${pid}/cwd`),
      stat(cluster),
    ]);
    return name.trim() === "postgres" && cwd.dev === folder.dev && cwd.ino === folder.ino;
  } catch {
    return (await processIdentity(pid)) === undefined ? false : undefined;
  }
}

async function ps(pid: number, columns: string): Promise<string | undefined> {
  const env = { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
  return promisify(execFile)("ps", ["-o", columns, "-p", String(pid)], { env }).then(
    ({ stdout }) => stdout.trim() || undefined,
    () => undefined,
  );
}
