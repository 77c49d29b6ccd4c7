/**
 * The shapes of what the gateway tells and of what the console makes of it: for editors and for `tsc`, which checks the
 * console in `make lint`. Nothing of this is served.
 *
 * What an agent says may be of any form, so that its members are `unknown` until somebody has looked at them.
 */

import type { Elsewhere } from "./model/elsewhere.js";
import type { Transcript } from "./model/transcript.js";
import type { Turn } from "./model/turn.js";

/** RFC 3339 */
export type Time = string;
/** `<epoch>-<seq>` */
export type Cursor = string;

// What agents say.

export type Foreign = { [name: string]: unknown };

export interface ContentBlock extends Foreign {
    type?: unknown;
    text?: unknown;
}

export interface ToolCall extends Foreign {
    toolCallId?: unknown;
    title?: unknown;
    kind?: unknown;
    status?: unknown;
    content?: unknown;
    locations?: unknown;
    rawInput?: unknown;
    rawOutput?: unknown;
}

export interface Update extends Foreign {
    sessionUpdate?: unknown;
}

// Events, as clients get them.

interface Said<Type extends string, Data> {
    type: Type;
    id: Cursor;
    sessionId?: string;
    turnId?: string;
    agentId?: string;
    at: Time;
    data: Data;
}

/** The same for each of some types. */
type Each<Type extends string, Data> = Type extends string ? Said<Type, Data> : never;

export type Outcome = "completed" | "cancelled" | "failed" | "stalled" | "lost";

/** How a turn ended; of one that ended well all but `outcome` is null or left out. */
export interface Ending {
    outcome: Outcome;
    stopReason?: string | null;
    failure?: string | null;
    message?: string | null;
}

export interface RequestedPermission {
    permissionId: string;
    toolCall: unknown;
    options: unknown;
    resolvedBy: string | null;
    rule: unknown;
}

export interface ResolvedPermission {
    permissionId: string;
    outcome: "selected" | "cancelled";
    optionId: string | null;
    resolvedBy: string;
    rule: unknown;
}

/** A command that ran for an agent. */
export interface Terminal {
    terminalId: string;
    command?: string;
    args?: string[];
    cwd?: string | null;
    output: string;
    /** After `output` so many bytes were not kept, and before `outputEnd`. */
    omittedBytes: number;
    outputEnd?: string;
    exitStatus: { exitCode: number | null; signal: string | null } | null;
    /** The number of the last event that is in it. */
    through: string;
}

export type TerminalEvent = EventOf<"terminal_started"> | EventOf<"terminal_output"> | EventOf<"terminal_ended">;

export interface CreatedSession {
    agentId: string;
    title: string | null;
    workingDirectory: string | null;
    createdBy: string;
}

export type Role = "viewer" | "operator" | "admin";

/** What is another way; of addresses and secrets no more than their names. */
export interface ChangedProject {
    changed: string[];
    settings: Settings;
    former: Settings;
    changedBy: string;
}

export interface Settings {
    name?: string;
    defaultAgentId?: string | null;
    permissionMode?: string;
    [name: string]: unknown;
}

export type SaidEvent =
    | Said<"session_created", CreatedSession>
    | Said<"session_restored", { how: string; reason: string; forgotten?: string[]; message?: string | null }>
    | Said<"session_renamed", { title: string | null; formerTitle: string | null; renamedBy: string }>
    | Said<"session_cleared", { clearedBy: string }>
    | Said<"session_mode", { mode: string | null; agentDecides: boolean }>
    | Said<"session_ended", { endedBy: string }>
    | Said<"turn_started", { prompt: unknown; startedBy: string | null }>
    | Said<"turn_ended", Ending>
    | Said<"turn_queued", { queuedBy: string }>
    | Said<"turn_cancelling", { requestedBy: string }>
    | Said<"turn_stalling", { silentFor: number; endsAfter: number }>
    | Said<"agent_stopping", { agentId: string; reason: string; otherTurns: string[] }>
    | Said<"permission_request", RequestedPermission>
    | Said<"permission_resolved", ResolvedPermission>
    | Said<"project_changed", ChangedProject>
    | Said<"member_added", { userId: string; role: Role; addedBy: string }>
    | Said<"member_role_changed", { userId: string; role: Role; formerRole: Role; changedBy: string }>
    | Said<"member_removed", { userId: string; role: Role; removedBy: string }>
    | Each<"credential_connected" | "credential_renewed" | "credential_disconnected", { userId: string }>
    | Said<"credential_needs_reauth", { userId: string; reason: string; message: string }>
    | Said<"login_ended", { userId: string; provider: string; outcome: string; code: string; message: string }>
    | Said<
          "gap",
          { reason: string; source: string | null; from: number | null; to: number | null; count: number | null; message?: string }
      >
    | Said<"history_filled", { gap: number; source: string; update: unknown }>
    | Said<"terminal_started", { terminalId: string; command: string; args?: string[]; cwd?: string | null }>
    | Said<"terminal_output", { terminalId: string; text: string; omittedBytes?: number }>
    | Said<"terminal_ended", { terminalId: string; exitCode?: number | null; signal?: string | null }>
    | Said<"file_read", { path: string; size: number; line?: number | null; limit?: number | null }>
    | Said<
          "file_written",
          { path: string; size: number; oldText: string | null; newText: string | null; omitted?: string[] }
      >
    | Said<"container_event", { event: string; data: unknown }>
    | Each<"session_update" | "agent_status" | "auth_required" | "auth_complete", unknown>;

/** To one client: what is shown counts no more. */
export type ResetEvent = Said<"reset", { reason: string }>;
export type HeartbeatEvent = Said<"heartbeat", object>;
export type EventType = (SaidEvent | ResetEvent | HeartbeatEvent)["type"];

/** An event as the models take it: with all its members, and its number. */
export type LogEvent = SaidEvent extends infer Event
    ? Event extends SaidEvent
        ? Omit<Event, "sessionId" | "turnId" | "agentId"> & Whereabouts
        : never
    : never;

export interface Whereabouts {
    sessionId: string | null;
    turnId: string | null;
    agentId: string | null;
    seq: number;
}

export type EventOf<Type extends LogEvent["type"]> = Extract<LogEvent, { type: Type }>;

// What the API answers, as far as the console reads it.

export interface Project {
    id: string;
    name: string;
    role: Role;
}

export interface ProjectPage {
    projects: Project[];
    next: string | null;
}

export interface Agent {
    id: string;
    name: string;
    description: string | null;
    status: string;
    requiresAuth: boolean;
    authenticated: boolean;
    error: string | null;
}

export interface AgentList {
    agents: Agent[];
    defaultAgentId: string | null;
    stale: boolean;
}

export interface RunningTurn {
    id: string;
    startedAt: Time | null;
}

export interface Session {
    id: string;
    agentId: string;
    title: string | null;
    titledBy: "user" | "agent" | null;
    workingDirectory: string | null;
    permissions: string;
    agentMode: string | null;
    status: "idle" | "running" | "ended";
    turn: RunningTurn | null;
    queue: string[];
    cursor: Cursor;
    createdBy: string;
    createdAt: Time;
    updatedAt: Time;
    endedAt: Time | null;
}

export interface SessionPage {
    sessions: Session[];
    next: string | null;
}

export type TurnState = "queued" | "running" | Outcome;

/** A turn, as the API tells of it. */
export interface ToldTurn {
    id: string;
    state: TurnState;
    stopReason: string | null;
    failure: string | null;
    message: string | null;
    prompt: ContentBlock[] | null;
    startedAt: Time | null;
    endedAt: Time | null;
}

/** A large value of a message, which has little in its place. */
export interface Reference {
    /** A JSON pointer. */
    path: string;
    url: string;
    mediaType: string;
    size: number;
}

interface MessageOf<Role extends string> {
    id: string;
    role: Role;
    turnId: string | null;
    at: Time;
    updatedAt: Time;
    references?: Reference[];
}

export type TextRole = "user" | "assistant" | "thought";
export type TextMessage = MessageOf<TextRole> & { content: ContentBlock[]; messageId?: string; author?: string };
export type ToolMessage = MessageOf<"tool"> & { toolCall: ToolCall };
export type TerminalMessage = MessageOf<"terminal"> & { terminal: Terminal };
export type PlanMessage = MessageOf<"plan"> & { entries: unknown[] };
/** Of what a gap lost, as the agent's own history has it. */
export type Filled =
    | { role: Exclude<TextRole, "user">; content: ContentBlock[]; messageId?: string }
    | { role: "tool"; toolCall: ToolCall };
/** An event of the log, as it is. Of a gap `through` is the number of the last event that is in `filled`. */
export type EventMessage = MessageOf<"event"> & {
    event: LogEvent["type"];
    data: unknown;
    filled?: Filled[] | Elsewhere;
    through?: string;
};
export type Message = TextMessage | ToolMessage | TerminalMessage | PlanMessage | EventMessage;

export interface MessagePage {
    messages: Message[];
    next: string | null;
}

export interface Permission {
    id: string;
    sessionId: string;
    turnId: string | null;
    agentId: string | null;
    toolCall: unknown;
    options: unknown;
    state: "waiting" | "answering" | "selected" | "cancelled";
    optionId: string | null;
    resolvedBy: string | null;
    rule: unknown;
    requestedAt: Time;
    expiresAt: Time | null;
}

export interface PermissionPage {
    permissions: Permission[];
    next: string | null;
}

export interface Snapshot {
    session: Session;
    turn: RunningTurn | null;
    permissions: Permission[];
    messages: Message[];
    next: string | null;
    cursor: Cursor;
}

export interface LoginWay {
    flow: string;
    provider?: string;
    providerName?: string;
    tokenType?: string;
    asks?: string | null;
}

export interface LoginBegun {
    flow: string;
    loginId?: string;
    provider?: string;
    providerName?: string;
    expiresAt?: Time;
    authorizeUrl?: string | null;
    pasteBack?: boolean;
    userCode?: string | null;
    verificationUri?: string | null;
    verificationUriComplete?: string | null;
    interval?: number | null;
    tokenType?: string | null;
    message?: string | null;
}

export interface LoginState {
    id: string;
    title: string | null;
    detail: string | null;
}

export interface Credential {
    tokenType: string;
    provider: string | null;
    subject: string | null;
    expiresAt: Time | null;
    renewable: boolean;
    state: string;
    reason: string | null;
    fingerprint: string | null;
}

export interface AuthStatus {
    state: "none" | "pending" | "authorized" | "denied" | "expired" | "failed" | "needs_reauth";
    credential: Credential | null;
    login: LoginState | null;
    ways: LoginWay[];
}

export interface Disconnected {
    revocation: { outcome: string; message: string | null } | null;
}

// What the console makes of these.

/** A session, as it is kept up to date by events; `cursor` is the number of the last one. */
export type KnownSession = Omit<Session, "cursor" | "permissions" | "agentMode" | "endedAt"> &
    Partial<Pick<Session, "permissions" | "agentMode" | "endedAt">> & {
        cursor: number;
        isCancelling?: boolean;
        /** A turn has ended in it that nobody has looked at. */
        isUnseen?: boolean;
    };

/** A permission request that waits; when it expires is asked for once it is here. */
export type WaitingPermission = Omit<Permission, "expiresAt"> & { expiresAt?: Time | null };

interface Entry<Kind extends string> {
    /** The number of its first event; of a permission that a snapshot told, its id. */
    key: number | string;
    kind: Kind;
    at: Time;
    turn: Turn;
}

/** Entries that are messages: their `key` is the number that is the message's id. */
interface MessageEntry<Kind extends string> extends Entry<Kind> {
    key: number;
    updatedAt: Time;
}

export interface TextItem extends MessageEntry<TextRole> {
    messageId: string | null;
    /** Who wrote the prompt. */
    author?: string | null;
    content: ContentBlock[];
}

export interface ToolItem extends MessageEntry<"tool"> {
    /** The call's own. */
    id: string;
    toolCall: ToolCall;
    /** Whether the agent has begun it, which an update that came first does not. */
    isBegun?: boolean;
}

export interface TerminalItem extends MessageEntry<"terminal"> {
    /** The terminal's own. */
    id: string;
    terminal: Terminal;
    /** Whether its beginning is known. */
    isBegun?: boolean;
    /** All that was told of one that may stand in for another. */
    events?: TerminalEvent[] | null;
}

export interface PlanItem extends MessageEntry<"plan"> {
    entries: unknown[];
}

/** What later events may change, under its name. */
export type NamedItem = ToolItem | TerminalItem | PlanItem;
export type MessageItem = TextItem | NamedItem;

export interface PermissionItem extends Entry<"permission"> {
    permission: AskedPermission;
    updatedAt: Time;
    /** As the events have it; null where only a snapshot has told it. */
    request: RequestedPermission | null;
    answer: { seq: number; at: Time; turnId: string | null; data: ResolvedPermission } | null;
    turnId: string | null;
}

/** A permission request as the transcript shows it. */
export interface AskedPermission {
    id: string;
    toolCall: unknown;
    options: unknown;
    state: Permission["state"];
    optionId?: string | null;
    resolvedBy: string | null;
    rule: unknown;
}

export interface NoteItem extends Entry<"note"> {
    type: LogEvent["type"];
    data: unknown;
    /** The event's own, which may stand in another turn. */
    turnId: string | null;
    updatedAt: Time;
    /** What a gap lost, with the number of the last event that is in it; a very large one is elsewhere. */
    filled: Filled[] | Elsewhere;
    through: number;
}

/** An entry of a transcript. */
export type Item = MessageItem | PermissionItem | NoteItem;

/** What of a project has changed. */
export type Change = "about" | "agents" | "sessions" | "stream" | "permissions" | Transcript;

// Elements: see dom.js.

export type Value = string | number | boolean | null | undefined;
export type Child = Node | string | null | undefined | false | Child[];
export type Listeners = { [Type in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Type]) => unknown };
export interface Properties {
    on?: Listeners;
    [name: string]: Value | Listeners;
}
type TagOf<What extends string> = What extends `${infer Tag}.${string}` ? Tag : What;
/** What an element is that is made as `"button.primary"`. */
export type ElementOf<What extends string> =
    TagOf<What> extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[TagOf<What>] : HTMLElement;

/** What may be seen at a place of the page. */
export interface View<Shown> {
    element: Element;
    update(shown: Shown): void;
}

/** What is shown beside the list; the console tells it what has changed. */
export interface PageView {
    element: Element;
    update(): void;
    close(): void;
    transcriptChanged?(transcript: Transcript): void;
    permissionsChanged?(): void;
    streamChanged?(): void;
    focusPrompt?(): void;
    focusPermission?(): void;
    toEnd?(): void;
}
