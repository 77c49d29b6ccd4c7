/** A turn's events, read once more: history does not tell when somebody waited for whom. */

import { complete } from "./event.js";
import { Transcript } from "./transcript.js";

/** @import { AcpGateway, EventStream } from "../acp-gateway.js" */
/** @import { Turn } from "./turn.js" */

const REPLAY_MS = 20_000;

/**
 * Have `turn` know all its times; `epoch`: of the log as it is now.
 *
 * @param {AcpGateway} gateway
 * @param {string} projectId
 * @param {string} sessionId
 * @param {string} epoch
 * @param {Turn} turn
 */
export async function recall(gateway, projectId, sessionId, epoch, turn) {
    const first = turn.items.find((item) => item.kind === "user");
    if (turn.isWhole || !first) return;
    const told = await replay(gateway, projectId, sessionId, `${epoch}-${Number(first.key) - 1}`, turn.id);
    if (told) turn.recall(told);
}

/**
 * A turn from its events; null where they are no longer kept.
 *
 * @param {AcpGateway} gateway
 * @param {string} projectId
 * @param {string} session
 * @param {string} cursor
 * @param {string | null} turnId
 */
async function replay(gateway, projectId, session, cursor, turnId) {
    const transcript = new Transcript();
    /** @type {EventStream | undefined} */
    let stream;
    /** @type {number | undefined} */
    let timer;
    try {
        await new Promise((/** @type {(value?: undefined) => void} */ resolve, reject) => {
            timer = setTimeout(() => reject(new Error("It took too long to read.")), REPLAY_MS);
            stream = gateway.events(projectId, {
                session,
                cursor,
                onEvent: (event) => {
                    transcript.apply(complete(event));
                    if (event.type === "turn_ended" && event.turnId === turnId) resolve();
                },
                onReset: () => resolve(),
                onState: (state, problem) => {
                    if (state === "live") resolve();
                    if (state === "closed" && problem) reject(problem);
                },
            });
        });
    } finally {
        clearTimeout(timer);
        stream?.close();
    }
    return transcript.turnWithId(turnId) ?? null;
}
