"""An agent that does exactly what the prompt says, well-behaved or not. Standard library only: it starts in no time.

The text of a prompt is a JSON list of steps, each a list of a verb and its arguments. "$LARGE" in it stands for a
text of more bytes than a gateway takes in one event, "$MANY" for a list of more values.

    ["update", UPDATE]        a session/update notification
    ["raw", TEXT]             bytes on stdout, as they are; $SESSION is replaced by the session's id
    ["bytes", BASE64]         the same for bytes that are no text; $ID is replaced by the prompt's id
    ["say", TEXT, COUNT]      a message chunk with TEXT, COUNT times over
    ["grow", COUNT, SIZE]     a tool's output of SIZE bytes in the end, told whole with each of COUNT updates
    ["long", COUNT]           a line of COUNT bytes that is no message
    ["call", METHOD, PARAMS]  a request to the client; its result or error is told as a message chunk. $TERMINAL is
                              replaced by the id of the terminal that was made last
    ["request", METHOD, PARAMS]  the same without waiting for the answer
    ["ask", PARAMS]           a permission request, likewise
    ["environment"]           tells its environment as JSON, secrets and all
    ["stderr", TEXT]          ["sleep", SECONDS]      ["exit", STATUS]      ["kill", SIGNAL]
    ["until", FILE]           waits until there is this file
    ["close"]                 closes stdout and lives on
    ["orphan", FILE]          leaves a detached process behind and writes its pid into FILE
    ["until-cancel"]          waits for session/cancel, then answers cancelled
    ["answer", RESULT]        answers the prompt with this, in place of end_turn
    ["error", ERROR]          answers the prompt with an error
    ["no-answer"]             does not answer the prompt

The environment variable SCRIPT holds JSON that changes the rest: {"initialize": RESULT, "new": RESULT, "load": RESULT
or {"error": …}, METHOD: RESULT for any other, "before_new" or "before_METHOD": [STEP …], "after_new": [STEP …] (in one
write with the answer), "deaf": true (ignores end of input and SIGTERM), "exit": STATUS (at once), "hang": METHOD (never
answers it), "log": FILE (every message from the client, a line each)}.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from base64 import b64decode
from typing import Any

SCRIPT = json.loads(os.environ.get("SCRIPT", "{}"))


class Agent:
    def __init__(self) -> None:
        self.out = sys.stdout.buffer
        self.lock = threading.Lock()
        self.cancelled = threading.Event()
        self.answers: dict[str, Any] = {}
        self.arrived = threading.Condition()
        self.sessions = 0
        self.asked = 0
        self.terminal = ""
        #: What is written in one go later.
        self.gathered: list[bytes] | None = None

    def send(self, message: dict[str, Any]) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        if self.gathered is not None:
            self.gathered.append(data)
            return
        with self.lock:
            self.out.write(data)
            self.out.flush()

    def say(self, session_id: str, value: Any) -> None:
        content = {"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}
        update = {"sessionUpdate": "agent_message_chunk", "content": content}
        self.send({"method": "session/update", "params": {"sessionId": session_id, "update": update}})

    def receive(self, message: dict[str, Any]) -> None:
        if "log" in SCRIPT:
            with open(SCRIPT["log"], "a") as log:
                log.write(json.dumps(message) + "\n")
        method = message.get("method")
        if method is None:
            with self.arrived:
                self.answers[message["id"]] = message
                self.arrived.notify_all()
        elif method == "session/cancel":
            self.cancelled.set()
        elif method == SCRIPT.get("hang"):
            pass
        elif method == "session/prompt":
            threading.Thread(target=self.prompt, args=(message,), daemon=True).start()
        else:
            self.answer(message, method, message.get("params") or {})

    def answer(self, message: dict[str, Any], method: str, params: dict[str, Any]) -> None:
        if method == "initialize":
            result = SCRIPT.get("initialize", {"protocolVersion": 1, "agentCapabilities": {}})
        elif method == "session/new":
            self.sessions += 1
            result = {"sessionId": f"acp-{os.getpid()}-{self.sessions}", **SCRIPT.get("new", {})}
            for step in SCRIPT.get("before_new", ()):
                self.step(result["sessionId"], step)
        elif method == "session/load" and "load" in SCRIPT:
            for step in SCRIPT.get("before_load", ()):
                self.step(params["sessionId"], step)
            result = SCRIPT["load"]
        else:
            for step in SCRIPT.get(f"before_{method}", ()):
                self.step("", step)
            result = SCRIPT.get(method, {"error": {"code": -32601, "message": "Method not found"}})
        behind = SCRIPT.get("after_new", ()) if method == "session/new" else ()
        self.gathered = [] if behind else None
        self.send({"id": message["id"], **(result if "error" in result else {"result": result})})
        for step in behind:
            self.step(result["sessionId"], step)
        if self.gathered is not None:
            data, self.gathered = b"".join(self.gathered), None
            self.write(data)

    def prompt(self, message: dict[str, Any]) -> None:
        self.cancelled.clear()
        session_id = message["params"]["sessionId"]
        end: dict[str, Any] = {"result": {"stopReason": "end_turn"}}
        steps = message["params"]["prompt"][0]["text"].replace("$LARGE", "x" * 5_000_000)
        for step in json.loads(steps.replace('"$MANY"', json.dumps([0] * 200_000))):
            if step[0] == "bytes":
                raw = b64decode(step[1]).replace(b"$SESSION", session_id.encode()).replace(b"$LARGE", b"x" * 5_000_000)
                self.write(raw.replace(b"$ID", b"%d" % message["id"]))
            elif step[0] == "no-answer":
                return
            else:
                end = self.step(session_id, step) or end
        self.send({"id": message["id"], **end})

    def step(self, session_id: str, step: list[Any]) -> dict[str, Any] | None:
        verb, *rest = step
        if verb == "update":
            self.send({"method": "session/update", "params": {"sessionId": session_id, "update": rest[0]}})
        elif verb == "raw":
            self.write(rest[0].replace("$SESSION", session_id).encode("utf-8", "surrogatepass"))
        elif verb == "say":
            self.say(session_id, rest[0] * rest[1])
        elif verb == "grow":
            for number in range(rest[0]):
                text = "line of a build\n" * (rest[1] * (number + 1) // rest[0] // 16)
                content = [{"type": "content", "content": {"type": "text", "text": text}}]
                update = {"toolCallId": "grow", "title": "build", "status": "in_progress", "content": content}
                kind = "tool_call_update" if number else "tool_call"
                self.step(session_id, ["update", {"sessionUpdate": kind, **update}])
        elif verb == "long":
            self.write(b'"' + b"x" * rest[0] + b'"\n')
        elif verb == "call":
            self.say(session_id, self.call(session_id, rest[0], rest[1]))
        elif verb == "request":
            self.request(session_id, rest[0], rest[1])
        elif verb == "ask":
            self.request(session_id, "session/request_permission", rest[0])
        elif verb == "environment":
            self.say(session_id, dict(os.environ))
        elif verb == "stderr":
            sys.stderr.write(rest[0])
            sys.stderr.flush()
        elif verb == "sleep":
            time.sleep(rest[0])
        elif verb == "exit":
            os._exit(rest[0])
        elif verb == "kill":
            os.kill(os.getpid(), rest[0])
            time.sleep(600)
        elif verb == "until":
            while not os.path.exists(rest[0]):
                time.sleep(0.01)
        elif verb == "close":
            os.close(1)
            time.sleep(600)
        elif verb == "orphan":
            orphan = subprocess.Popen(
                ["sleep", "600"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            with open(rest[0], "w") as file:
                file.write(str(orphan.pid))
        elif verb == "until-cancel":
            self.cancelled.wait()
            return {"result": {"stopReason": "cancelled"}}
        elif verb == "answer":
            return {"result": rest[0]}
        elif verb == "error":
            return {"error": rest[0]}
        return None

    def request(self, session_id: str, method: str, params: dict[str, Any]) -> str:
        self.asked += 1
        request_id = f"r{self.asked}"
        self.send({"id": request_id, "method": method, "params": {"sessionId": session_id, **params}})
        return request_id

    def call(self, session_id: str, method: str, params: dict[str, Any]) -> Any:
        params = json.loads(json.dumps(params).replace("$TERMINAL", self.terminal))
        request_id = self.request(session_id, method, params)
        with self.arrived:
            self.arrived.wait_for(lambda: request_id in self.answers)
        answer = self.answers[request_id]
        if method == "terminal/create":
            self.terminal = answer.get("result", {}).get("terminalId", "")
        return answer.get("result") if "result" in answer else {"error": answer["error"]}


def main() -> None:
    if "exit" in SCRIPT:
        sys.stderr.write(SCRIPT.get("stderr", ""))
        sys.exit(SCRIPT["exit"])
    if SCRIPT.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    agent = Agent()
    for line in sys.stdin.buffer:
        agent.receive(json.loads(line))
    while SCRIPT.get("deaf"):
        time.sleep(1)


if __name__ == "__main__":
    main()
