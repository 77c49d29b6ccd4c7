/** What the console uses of markdown-it. */

export interface Token {
    type: string;
    tag: string;
    nesting: 1 | 0 | -1;
    map: [number, number] | null;
    children: Token[] | null;
    content: string;
    info: string;
    hidden: boolean;
    level: number;
    attrGet(name: string): string | null;
}

export interface BlockState {
    line: number;
    blkIndent: number;
    push(type: string, tag: string, nesting: 1 | 0 | -1): Token;
    getLines(begin: number, end: number, indent: number, keepLastLineFeed: boolean): string;
}

export type BlockRule = (state: BlockState, start: number, end: number, isSilent: boolean) => boolean;

export interface BlockRuler {
    __rules__: { name: string; fn: BlockRule; alt: string[] }[];
    at(name: string, rule: BlockRule, options: { alt: string[] }): void;
}

export default class MarkdownIt {
    constructor(options: { html: boolean; linkify: boolean; breaks: boolean; maxNesting: number });
    block: { ruler: BlockRuler };
    parse(markdown: string, environment: object): Token[];
}
