/** Tables of words, asked by what somebody else says. */

/**
 * The entry of a name; undefined for one that nobody has put there, `constructor` included.
 *
 * @template Entry
 * @param {Readonly<Record<string, Entry>>} table
 * @param {unknown} name
 * @returns {Entry | undefined}
 */
export function entryOf(table, name) {
    return typeof name === "string" && Object.hasOwn(table, name) ? table[name] : undefined;
}
