/** Where a download link leads: the part of its path behind this is its id and its secret. */
export const DOWNLOADS_PATH = "/analytics/downloads";

/** What somebody gets to follow; whoever has it can read the file. */
export const downloadUrl = (origin: string, link: { linkId: string; secret: string }): string =>
  `${origin.replace(/\/+$/, "")}${DOWNLOADS_PATH}/${link.linkId}.${link.secret}`;
