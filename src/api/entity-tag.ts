/** Whether `If-None-Match` names this validator, compared weakly (RFC 9110, 13.1.2). It must hold no comma. */
export const namesTag = (header: string | undefined, etag: string): boolean =>
  header?.split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag) ?? false;
