--- Requests that two readers have understood in two ways: what has been published of smuggling, and its kin.
-- Each is { what it is, the status that refuses it, bytes }; where the status is false, it is one request, or
-- several, as anybody reads them: { ..., { "METHOD target", ... } }.
local HOST, CRLF = "Host: h\r\n", "\r\n"

local function post(...) return "POST / HTTP/1.1\r\n" .. HOST .. table.concat({ ... }, CRLF) .. CRLF .. CRLF end

--- Behind a body's end, for some readers, a second request.
local HIDDEN = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: h\r\n\r\n"

return {
  { "CL.TE", 400, post("Content-Length: 6", "Transfer-Encoding: chunked") .. "0\r\n\r\nG" },
  { "TE.CL", 400, post("Transfer-Encoding: chunked", "Content-Length: 4") .. "5c\r\nGPOST" },
  { "TE.TE, a space before the colon", 400, post("Content-Length: 4", "Transfer-Encoding : chunked") .. HIDDEN },
  { "a space before the colon alone", 400, post "Transfer-Encoding : chunked" .. HIDDEN },
  { "a tab before the colon", 400, post "Transfer-Encoding\t: chunked" .. HIDDEN },
  { "a vertical tab before chunked", 400, post "Transfer-Encoding:\vchunked" .. HIDDEN },
  { "a form feed before chunked", 400, post "Transfer-Encoding:\fchunked" .. HIDDEN },
  { "a NUL behind chunked", 400, post "Transfer-Encoding: chunked\0" .. HIDDEN },
  { "a non-breaking space", 400, post "Transfer-Encoding: \xa0chunked" .. HIDDEN },
  { "xchunked", 400, post "Transfer-Encoding: xchunked" .. HIDDEN },
  { "quotes around chunked", 400, post 'Transfer-Encoding: "chunked"' .. HIDDEN },
  { "identity", 400, post "Transfer-Encoding: identity" .. HIDDEN },
  { "cow, chunked", 501, post "Transfer-Encoding: cow, chunked" .. HIDDEN },
  { "chunked, identity", 400, post "Transfer-Encoding: chunked, identity" .. HIDDEN },
  { "two fields, chunked first", 400, post("Transfer-Encoding: chunked", "Transfer-Encoding: cow") .. HIDDEN },
  { "two fields, chunked last", 400, post("Transfer-Encoding: cow", "Transfer-Encoding: chunked") .. HIDDEN },
  { "chunked twice", 400, post "Transfer-Encoding: chunked, chunked" .. HIDDEN },
  { "an empty coding", 400, post "Transfer-Encoding:" .. HIDDEN },
  { "a coding in the next line", 400, post("Transfer-Encoding:", " chunked") .. HIDDEN },
  { "a field behind a bare LF", 400, post "X: y\nTransfer-Encoding: chunked" .. HIDDEN },
  { "a field behind a bare CR", 400, post "X: y\rTransfer-Encoding: chunked" .. HIDDEN },
  { "a field that begins with a space", 400, "POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\n" .. HOST
    .. CRLF .. HIDDEN },
  { "a coding in HTTP/1.0", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" .. HIDDEN },
  { "an underscore in the name is another field", false, post "Transfer_Encoding: chunked"
    .. "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    { "POST /", "GET /2" } },
  { "lengths that differ", 400, post("Content-Length: 0", "Content-Length: 44") .. HIDDEN },
  { "lengths that are the same", 400, post("Content-Length: 5", "Content-Length: 5") .. "hello" },
  { "lengths in a list", 400, post "Content-Length: 0, 44" .. HIDDEN },
  { "a length with a sign", 400, post "Content-Length: +0" .. HIDDEN },
  { "a negative length", 400, post "Content-Length: -1" .. HIDDEN },
  { "a length in hexadecimal", 400, post "Content-Length: 0x5" .. "hello" },
  { "a length with an underscore", 400, post "Content-Length: 1_0" .. "hellohello" },
  { "a length in other digits", 400, post "Content-Length: \xd9\xa5" .. "hello" },
  { "a length that overflows", 400, post "Content-Length: 18446744073709551621" .. "hello" },
  { "a length in the next line", 400, post("Content-Length:", " 5") .. "hello" },
  { "a length with a space in it", 400, post "Content-Length: 0 5" .. "hello" },
  { "a length behind a space before the colon", 400, post "Content-Length : 5" .. "hello" },
  { "a body of GET", false, "GET /1 HTTP/1.1\r\n" .. HOST
    .. "Content-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\n" .. HOST .. CRLF,
    { "GET /1", "GET /2" } },
  { "chunks that end with LF", 400, post "Transfer-Encoding: chunked" .. "1\na\n0\n\n" },
  { "a chunk's end that is no CR LF", 400, post "Transfer-Encoding: chunked" .. "1\r\naXX0\r\n\r\n" },
  { "a chunk's end that is two LF", 400, post "Transfer-Encoding: chunked" .. "1\r\na\n\n0\r\n\r\n" },
  { "a chunk's size that overflows", 400, post "Transfer-Encoding: chunked"
    .. "10000000000000001\r\na\r\n0\r\n\r\n" },
  { "a chunk's size with a sign", 400, post "Transfer-Encoding: chunked" .. "+1\r\na\r\n0\r\n\r\n" },
  { "a chunk's size with 0x", 400, post "Transfer-Encoding: chunked" .. "0x1\r\na\r\n0\r\n\r\n" },
  { "a chunk's size with a space", 400, post "Transfer-Encoding: chunked" .. "1 \r\na\r\n0\r\n\r\n" },
  { "a chunk's size behind a space", 400, post "Transfer-Encoding: chunked" .. " 1\r\na\r\n0\r\n\r\n" },
  { "a chunk's empty size", 400, post "Transfer-Encoding: chunked" .. "\r\n1\r\na\r\n0\r\n\r\n" },
  { "an extension with LF", 400, post "Transfer-Encoding: chunked" .. "1;x\na\r\n0\r\n\r\n" },
  { "an extension with CR", 400, post "Transfer-Encoding: chunked" .. "1;x\ry\r\na\r\n0\r\n\r\n" },
  { "an extension without a semicolon", 400, post "Transfer-Encoding: chunked" .. "1x\r\na\r\n0\r\n\r\n" },
  { "a trailer that would be a header", 400, post "Transfer-Encoding: chunked" .. "0\r\nContent-Length: 44\r\n\r\n" },
  { "a trailer behind a bare LF", 400, post "Transfer-Encoding: chunked" .. "0\r\nA: b\nC: d\r\n\r\n" },
  { "two hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" },
  { "the same host twice", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" },
  { "no host", 400, "GET / HTTP/1.1\r\n\r\n" },
  { "a host with a space before the colon", 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n" },
  { "a host in the next line", 400, "GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n" },
  { "a host with a path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" },
  { "a host with a user", 400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n" },
  { "a host in a list", 400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n" },
  { "a target with a space", 400, "GET /a b HTTP/1.1\r\n" .. HOST .. CRLF },
  { "a target with a tab", 400, "GET /a\tb HTTP/1.1\r\n" .. HOST .. CRLF },
  { "a first line with LF in it", 400, "GET / HTTP/1.1\nX: y\r\n" .. HOST .. CRLF },
  { "a first line of HTTP/0.9", 400, "GET /\r\n\r\n" },
  { "a version with spaces behind", 400, "GET / HTTP/1.1 \r\n" .. HOST .. CRLF },
  { "HTTP/2's preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
  { "a request behind Connection: close", false, "GET /1 HTTP/1.1\r\nConnection: close\r\n" .. HOST .. CRLF
    .. "GET /2 HTTP/1.1\r\n"
    .. HOST .. CRLF, { "GET /1" } },
  { "a folded value", 400, post("X: y", " Content-Length: 5") },
  { "a field with no colon", 400, post "Transfer-Encoding chunked" },
  { "a name in quotes", 400, post '"Transfer-Encoding": chunked' },
  { "a name with a NUL", 400, post "Transfer-Encoding\0: chunked" },
  { "a field after the empty line with LF", 400, "GET / HTTP/1.1\r\n" .. HOST .. "\nX: y\r\n\r\n" },
}
