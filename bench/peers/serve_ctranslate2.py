"""A server around CTranslate2 for `npm run bench -- serve`: requests that wait are written in one batch.

Greedy, of exactly the length that is asked for. Answers whole, or as server-sent events for each token. Python’s own
HTTP server, a thread for each connection.
"""
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from case import load_case
from plug_ctranslate2 import load_translator, token

case, config = load_case()
with open(f"{case['model']}/vocab.txt", encoding="utf-8") as file:
    characters = file.read().split("\n")[:-1]
ids = {character: index for index, character in enumerate(characters)}
cls, sep = ids["[CLS]"], ids["[SEP]"]
translator = load_translator(case, config, cls, sep)
# The least length keeps the end token away, and needs nothing done at a step besides.
forbidden = [[token(ids[name])] for name in ("[PAD]", "[UNK]", "[CLS]", "[MASK]")]
waiting = queue.Queue()


class Request:
    def __init__(self, prompt, length):
        self.tokens = [token(index) for index in (cls, *(ids[character] for character in prompt), sep)]
        self.length = length
        self.written = queue.Queue()


def write_batches():
    """Everything that waits for one length, up to the batch size, and again."""
    while True:
        requests = [waiting.get()]
        length = requests[0].length
        while len(requests) < case["batchSize"]:
            try:
                requests.append(waiting.get(timeout=case["waitSeconds"]))
            except queue.Empty:
                break

        def on_token(step):
            requests[step.batch_id].written.put(characters[step.token_id])

        translator.translate_batch(
            [request.tokens for request in requests],
            beam_size=1,
            max_input_length=0,
            min_decoding_length=length,
            max_decoding_length=length,
            suppress_sequences=forbidden,
            callback=on_token,
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = Request(body["prompt"], body["maxLength"])
        waiting.put(request)
        written = (request.written.get() for _ in range(request.length))
        if body["stream"]:
            self.stream(written)
        else:
            self.whole({"texts": [{"text": "".join(written)}], "usage": {"writtenTokens": request.length}})

    def whole(self, answer):
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, written):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for text in written:
            self.event(json.dumps({"candidate": 0, "text": text}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data):
        piece = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


threading.Thread(target=write_batches, daemon=True).start()
server = Server(("127.0.0.1", 0), Handler)
print(f"Serving on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
