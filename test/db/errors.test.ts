import { describe, expect, it } from "vitest";
import { databaseUnavailable, isDatabaseAway, SILENT_CODE } from "../../src/db/errors.js";

const errorOf = (fields: object, message = "it failed") => Object.assign(new Error(message), fields);

describe("a database error", () => {
  it.each([
    errorOf({ code: "ECONNREFUSED", syscall: "connect" }),
    errorOf({ code: "ENOENT", syscall: "connect" }),
    errorOf({ code: "EMFILE", syscall: "connect" }),
    errorOf({ code: "57P01" }),
    errorOf({ code: "08006" }),
    errorOf({ code: "53300" }),
    errorOf({}, "Connection terminated unexpectedly"),
  ])("says that the database is away: %o", (error) => {
    expect(isDatabaseAway(error)).toBe(true);
    expect(databaseUnavailable(error)).toMatchObject({ code: "database_unavailable" });
  });

  it.each([
    // The same work may meet these again on a healthy server, so they cost it an attempt.
    errorOf({ code: "53100" }),
    errorOf({ code: "53400" }),
    errorOf({ code: SILENT_CODE }),
  ])("says that the server could not do this: %o", (error) => {
    expect(isDatabaseAway(error)).toBe(false);
    expect(databaseUnavailable(error)).toMatchObject({ code: "database_unavailable" });
  });

  it.each([
    errorOf({ code: "ENOENT", syscall: "open", path: "/a" }),
    errorOf({ code: "EMFILE", syscall: "open", path: "/a" }),
    errorOf({ code: "22P05" }),
    new TypeError("a bug"),
  ])("is none of the database's: %o", (error) => {
    expect(isDatabaseAway(error)).toBe(false);
    expect(databaseUnavailable(error)).toBeUndefined();
  });
});
