import { foldBatchSql } from "../../dist/db/fold/fold-statement.js";

/** The statement in full, so that a review shows what a change of its parts does to it. */
export const renderFold = () =>
  `-- The statement that folds a batch of events (src/db/fold/fold-statement.ts). Made by \`npm run gen\`.\n${foldBatchSql
    .trim()
    .replace(/[ \t]+$/gm, "")};\n`;
