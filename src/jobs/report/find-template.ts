import { findBuiltIn } from "../../analytics/report-templates/built-in.js";
import { type ReportTemplate, templateDefinition } from "../../analytics/report-templates/definition.js";
import type { Db } from "../../db/client.js";
import { findTemplateRow } from "../../db/queries/report-templates.js";
import { InvalidInput } from "../../errors.js";

export interface TemplateAsked {
  account_id: string;
  template: string;
  template_version?: number | undefined;
}

/** The template that a request names, of the version that it names or else the last. Throws `InvalidInput`, of fields below `at`. */
export async function findTemplate(db: Db, asked: TemplateAsked, at = ""): Promise<ReportTemplate> {
  const { account_id, template: name, template_version: version } = asked;
  const builtIn = version === undefined ? findBuiltIn(name) : undefined;
  if (builtIn) return builtIn;
  const row = await findTemplateRow(db, account_id, name, version);
  if (row) return { ...templateDefinition.parse(row.definition), name, version: row.version };
  const unknown = `there is no template ${name}`;
  throw InvalidInput.of([
    version === undefined
      ? {
          path: `${at}template`,
          code: "unknown_template",
          message: `${unknown}; GET /analytics/report-templates lists all`,
        }
      : {
          path: `${at}template_version`,
          code: "unknown_version",
          message: `${unknown} with version ${version}`,
        },
  ]);
}
