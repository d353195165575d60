/** A message id as WhatsApp Web writes it: `true_<chat>_<id>`, in groups with `_<participant>` behind it. */
export interface SerializedId {
  fromMe: boolean;
  chat: string;
  /** The id that WhatsApp itself knows the message by. */
  core: string;
  participant: string | undefined;
}

const SERIALIZED = /^(true|false)_([^_\s]+@[^_\s]+)_([^_\s]+)(?:_(\S+))?$/;

export function parseSerializedId(text: string | undefined): SerializedId | undefined {
  const found = SERIALIZED.exec(text ?? "");
  if (found === null) return undefined;
  const [, fromMe, chat, core, participant] = found;
  return { fromMe: fromMe === "true", chat: chat!, core: core!, participant };
}

/** Without the participant, which is the author in one event and the reader in the next. */
export const withoutParticipant = ({ fromMe, chat, core }: Omit<SerializedId, "participant">): string =>
  `${fromMe}_${chat}_${core}`;
