/** Times and amounts, for people. */

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/**
 * The time of today, the day of what is older.
 *
 * @param {string} at
 */
export function when(at) {
    const date = new Date(at);
    return date.toDateString() === new Date().toDateString() ? TIME.format(date) : DAY.format(date);
}

/** @param {string} at */
export function exactly(at) {
    return FULL.format(new Date(at));
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
    const seconds = Math.max(0, milliseconds) / 1000;
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    if (seconds < 60) return `${Math.round(seconds)} s`;
    const whole = Math.round(seconds);
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
    return hours ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}

/** @param {number} number */
export function amount(number) {
    if (number < 10_000) return String(number);
    return number < 1_000_000 ? `${Math.round(number / 1000)}k` : `${(number / 1_000_000).toFixed(1)}M`;
}

/** @param {{ amount: number, currency: string }} cost */
export function money({ amount: value, currency }) {
    try {
        const digits = value < 1 ? 4 : 2;
        return new Intl.NumberFormat(undefined, { style: "currency", currency, maximumFractionDigits: digits }).format(
            value,
        );
    } catch {
        return `${value} ${currency}`;
    }
}
