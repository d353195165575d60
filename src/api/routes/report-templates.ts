import { z } from "zod";
import { builtInTemplates, findBuiltIn } from "../../analytics/report-templates/built-in.js";
import {
  checkDefinition,
  definitionFields,
  type ReportTemplate,
  type TemplateDefinition,
  templateDefinition,
  templateName,
} from "../../analytics/report-templates/definition.js";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import {
  archiveTemplate,
  findTemplateRow,
  insertTemplate,
  listTemplateRows,
  MAX_TEMPLATE_NAMES,
  MAX_TEMPLATES,
  MAX_VERSIONS,
  replaceTemplate,
  type TemplateRow,
} from "../../db/queries/report-templates.js";
import { Conflict, NotFound } from "../../errors.js";
import { readJsonBody } from "../body.js";
import { withIdempotency } from "../idempotency.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { decodeCursor, pageParameters, toPage } from "../pagination.js";
import { type ApiRequest, pathId, type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

export const MAX_TEMPLATE_BYTES = 64 * 1024;

/** The path of previews. */
const RESERVED = "preview";

const freeName = templateName.superRefine((name, context) => {
  if (name !== RESERVED && !findBuiltIn(name)) return;
  const message = name === RESERVED ? "is a path of its own" : "is the name of a built-in template";
  context.addIssue({ code: "custom", message, params: { code: "name_reserved" } });
});

const replacement = z
  .strictObject({ account_id: accountIdText, ...definitionFields })
  .superRefine(checkDefinition);
const creation = z
  .strictObject({ account_id: accountIdText, name: freeName, ...definitionFields })
  .superRefine(checkDefinition);

const ofAccount = { account_id: accountIdText };
const oneParameters = z.strictObject({
  ...ofAccount,
  version: z
    .string()
    .regex(/^[1-9]\d{0,8}$/, "must be a whole number from 1 on")
    .transform(Number)
    .optional(),
});
const listParameters = z.strictObject({ ...pageParameters, ...ofAccount });

/** `/analytics/report-templates`: the built-in ones and those that an account has made. */
export function reportTemplateRoutes(context: Context): Route[] {
  const { db } = context;
  const path = "/analytics/report-templates";
  const one = `${path}/:name`;
  return [
    route({
      method: "get",
      path,
      access: ["viewer"],
      async handler(request, response) {
        const { account_id: accountId, limit, cursor } = readQuery(request, listParameters);
        await requireKnown(context, request, accountId);
        const after = cursor === undefined ? undefined : decodeCursor(templateName, cursor);
        const own = await listTemplateRows(db, { accountId, after, limit: limit + 1 });
        const builtIn = builtInTemplates.filter(({ name }) => after === undefined || name > after);
        const all = [...own.map(presentOwn), ...builtIn.map(presentBuiltIn)].sort((a, b) =>
          a.name < b.name ? -1 : 1,
        );
        response.json(
          toPage(
            all,
            limit,
            (template) => template,
            ({ name }) => name,
          ),
        );
      },
    }),
    route({
      method: "post",
      path,
      access: ["analyst"],
      async handler(request, response) {
        const {
          account_id: accountId,
          name,
          ...definition
        } = parseInput(creation, await readJsonBody(request, { maxBytes: MAX_TEMPLATE_BYTES }));
        await requireKnown(context, request, accountId);
        await withIdempotency(context, request, response, async () => {
          const createdBy = request.identity.keyId;
          const made = kept(await insertTemplate(db, { accountId, name, definition, createdBy }));
          return { status: 201, headers: { location: `${path}/${name}` }, body: presentOwn(made) };
        });
      },
    }),
    route({
      method: "get",
      path: one,
      access: ["viewer"],
      async handler(request, response) {
        const { account_id: accountId, version } = readQuery(request, oneParameters);
        await requireKnown(context, request, accountId);
        const name = pathId(request, "name");
        const builtIn = version === undefined ? findBuiltIn(name) : undefined;
        const own = builtIn ? undefined : await findTemplateRow(db, accountId, name, version);
        if (!builtIn && !own) throw templateNotFound();
        response.json(builtIn ? presentBuiltIn(builtIn) : presentOwn(own!));
      },
    }),
    route({
      method: "put",
      path: one,
      access: ["analyst"],
      async handler(request, response) {
        const name = pathId(request, "name");
        const { account_id: accountId, ...definition } = parseInput(
          replacement,
          await readJsonBody(request, { maxBytes: MAX_TEMPLATE_BYTES }),
        );
        await requireKnown(context, request, accountId);
        requireOwn(name);
        const createdBy = request.identity.keyId;
        const made = await replaceTemplate(db, { accountId, name, definition, createdBy });
        if (!made) throw templateNotFound();
        response.json(presentOwn(kept(made)));
      },
    }),
    route({
      method: "delete",
      path: one,
      access: ["analyst"],
      async handler(request, response) {
        const name = pathId(request, "name");
        const { account_id: accountId } = readQuery(request, z.strictObject(ofAccount));
        await requireKnown(context, request, accountId);
        requireOwn(name);
        if (!(await archiveTemplate(db, accountId, name))) throw templateNotFound();
        response.status(204).end();
      },
    }),
  ];
}

async function requireKnown({ db }: Context, request: ApiRequest, accountId: string): Promise<void> {
  requireAccount(request.identity, accountId);
  if (!(await findAccount(db, accountId))) throw accountNotFound();
}

function requireOwn(name: string): void {
  if (findBuiltIn(name))
    throw new Conflict("template_built_in", `${name} is a built-in template, which stays what it is.`);
}

const templateNotFound = () => new NotFound("template_not_found", "There is no such template.");

function kept(made: TemplateRow | "taken" | "too_many_templates" | "too_many_versions"): TemplateRow {
  if (typeof made === "object") return made;
  if (made === "taken")
    throw new Conflict("template_exists", "There is a template of this name; PUT makes its next version.");
  if (made === "too_many_templates")
    throw new Conflict(
      "too_many_templates",
      `An account has at most ${MAX_TEMPLATES} templates, and ${MAX_TEMPLATE_NAMES} with those that are archived.`,
    );
  throw new Conflict("too_many_versions", `A template has at most ${MAX_VERSIONS} versions.`);
}

interface TemplateJson extends TemplateDefinition {
  name: string;
  version: number | null;
  built_in: boolean;
}

function presentOwn(row: TemplateRow): TemplateJson {
  return {
    name: row.name,
    version: row.version,
    ...{ last_version: row.last_version, built_in: false, account_id: row.account_id },
    ...templateDefinition.parse(row.definition),
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    archived_at: row.archived_at?.toISOString() ?? null,
  } as TemplateJson;
}

const presentBuiltIn = ({ name, ...template }: ReportTemplate): TemplateJson => ({
  ...{ name, built_in: true },
  ...template,
  version: null,
});
