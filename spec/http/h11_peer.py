# What Python's h11 makes of bytes. Lines in: role method hex; lines out: one record each, as differences_spec reads it.
import sys
import h11


def text(data):
    return bytes(data).hex()


def headers(list_):
    return ",".join(text(bytes(n).lower()) + "=" + text(v) for n, v in list_)


def ours_say(c):
    """Answers a request, as our side; True: the next one may come."""
    c.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
    c.send(h11.EndOfMessage())
    if c.our_state is h11.DONE and c.their_state is h11.DONE:
        c.start_next_cycle()
        return True
    return False


def run(role, method, data):
    server = role == "server"
    c = h11.Connection(h11.SERVER if server else h11.CLIENT, max_incomplete_event_size=16384)
    out = []
    if not server:
        c.send(h11.Request(method=method, target="h:1" if method == "CONNECT" else "/", headers=[("host", "h")]))
        c.send(h11.EndOfMessage())
    body = None
    c.receive_data(data)
    while True:
        try:
            e = c.next_event()
        except h11.RemoteProtocolError as error:
            out.append("error:" + str(error).replace(" ", "_")[:60])
            break
        if e is h11.NEED_DATA:
            if body is not None:
                out.append("part:" + text(body))
            out.append("need")
            break
        if e is h11.PAUSED:
            if c.their_state is h11.MIGHT_SWITCH_PROTOCOL or c.their_state is h11.SWITCHED_PROTOCOL:
                out.append("switch")
                break
            if server and c.our_state is h11.SEND_RESPONSE and ours_say(c):
                continue
            out.append("over")
            break
        if isinstance(e, h11.Request):
            out.append("head:%s:%s:%s" % (text(e.method), text(e.target), headers(e.headers)))
            body = b""
        elif isinstance(e, h11.InformationalResponse):
            out.append("info:%d" % e.status_code)
            if e.status_code == 101:
                out.append("switch")
                break
        elif isinstance(e, h11.Response):
            out.append("head:%d:%s" % (e.status_code, headers(e.headers)))
            body = b""
        elif isinstance(e, h11.Data):
            body += bytes(e.data)
        elif isinstance(e, h11.EndOfMessage):
            out.append("body:" + text(body))
            body = None
            if c.their_state is h11.MIGHT_SWITCH_PROTOCOL or c.their_state is h11.SWITCHED_PROTOCOL:
                out.append("switch")
                break
            if not server or not ours_say(c):
                out.append("over")
                break
        elif isinstance(e, h11.ConnectionClosed):
            out.append("over")
            break
    return " ".join(out)


for line in sys.stdin:
    role, method, data = line.split(" ")
    print(run(role, method, bytes.fromhex(data.strip())))
