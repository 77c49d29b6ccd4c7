/** The projects of who asks. */

const AT_ONCE = 200;

export class Projects {
    list = [];
    #api;

    constructor(api) {
        this.#api = api;
    }

    /** All of them, page by page. */
    async read() {
        const found = [];
        for (let after = ""; after !== null;) {
            const query = after && `&after=${encodeURIComponent(after)}`;
            const { projects, next } = await this.#api.get(`/api/projects?limit=${AT_ONCE}${query}`);
            found.push(...projects);
            after = next;
        }
        this.list = found;
    }

    get(id) {
        return this.list.find((project) => project.id === id);
    }

    /** The one to show where nobody names one: `id` where it is one, else the first. */
    preferred(id) {
        return this.get(id) ?? this.list[0];
    }
}
