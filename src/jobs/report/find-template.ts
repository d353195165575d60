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

/** The template that a request names, of the version that it names or else the last. Throws `InvalidInput`. */
export async function findTemplate(db: Db, asked: TemplateAsked): Promise<ReportTemplate> {
  const { account_id, template: name, template_version: version } = asked;
  const builtIn = version === undefined ? findBuiltIn(name) : undefined;
  if (builtIn) return builtIn;
  const row = await findTemplateRow(db, account_id, name, version);
  if (row) return { ...templateDefinition.parse(row.definition), name, version: row.version };
  throw InvalidInput.of([
    version === undefined
      ? {
          path: "template",
          code: "unknown_template",
          message: `${unknown(name)}; GET /analytics/report-templates lists all`,
        }
      : {
          path: "template_version",
          code: "unknown_version",
          message: `${unknown(name)} with version ${version}`,
        },
  ]);
}

/** Whether an account can name this template. */
export const hasTemplate = async (db: Db, accountId: string, name: string): Promise<boolean> =>
  findBuiltIn(name) !== undefined || (await findTemplateRow(db, accountId, name, undefined)) !== undefined;

const unknown = (name: string) => `there is no template ${name}`;
