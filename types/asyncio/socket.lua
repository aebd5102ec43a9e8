---@meta asyncio.socket
-- Annotations for the Lua language server: LuaSocket's interface. Its manual says what each does.

---@class asyncio.socket
---@field dns asyncio.socket.dns
---@field unix asyncio.socket.unix
---@field BLOCKSIZE integer
---@field _VERSION string
local socket = {}

---@class asyncio.socket.dns
local dns = {}

---@param host string
---@return string? ip, table | string resolved
function dns.toip(host) end

---@param address string
---@return string? name, table | string resolved
function dns.tohostname(address) end

---@param host string
---@return { family: string, addr: string }[]?, string? err
function dns.getaddrinfo(host) end

---@param host? string
---@param service? string
---@return string[]? names, string? service
function dns.getnameinfo(host, service) end

---@return string
function dns.gethostname() end

---@class asyncio.socket.Socket
local Socket = {}

---@return 1
function Socket:close() end

---@return integer
function Socket:getfd() end

---@param fd integer
function Socket:setfd(fd) end

---@return boolean
function Socket:dirty() end

---@param seconds? number
---@param mode? "b" | "t"
---@return 1
function Socket:settimeout(seconds, mode) end

---@return number block, number total
function Socket:gettimeout() end

---@param option string
---@param value? any
---@return 1?, string? err
function Socket:setoption(option, value) end

---@param option string
---@return any
function Socket:getoption(option) end

---@return string? ip, string port, string family
function Socket:getsockname() end

---@return string? ip, integer port, string family
function Socket:getpeername() end

---@class asyncio.socket.Tcp: asyncio.socket.Socket
local Tcp = {}

---@param address string
---@param port string | integer
---@return 1?, string? err
function Tcp:bind(address, port) end

---@param address string
---@param port string | integer
---@return 1?, string? err
function Tcp:connect(address, port) end

---@param backlog? integer
---@return 1?, string? err
function Tcp:listen(backlog) end

---@return asyncio.socket.Tcp?, string? err
function Tcp:accept() end

---@param pattern? "*l" | "*a" | integer
---@param prefix? string
---@return string?, string? err, string? partial
function Tcp:receive(pattern, prefix) end

---@param data string
---@param i? integer
---@param j? integer
---@return integer? last, string? err, integer? last
function Tcp:send(data, i, j) end

---@param how? "both" | "send" | "receive"
---@return 1
function Tcp:shutdown(how) end

---@return number received, number sent, number age
function Tcp:getstats() end

---@class asyncio.socket.Udp: asyncio.socket.Socket
local Udp = {}

---@param address string
---@param port string | integer
---@return 1?, string? err
function Udp:setsockname(address, port) end

---@param address string
---@param port? string | integer
---@return 1?, string? err
function Udp:setpeername(address, port) end

---@param size? integer
---@return string?, string? err
function Udp:receive(size) end

---@param size? integer
---@return string?, string ip, integer port
function Udp:receivefrom(size) end

---@param data string
---@return 1?, string? err
function Udp:send(data) end

---@param data string
---@param ip string
---@param port string | integer
---@return 1?, string? err
function Udp:sendto(data, ip, port) end

---@class asyncio.socket.unix
---@overload fun(): asyncio.socket.Tcp
local unix = {}

---@return asyncio.socket.Tcp
function unix.stream() end

---@return asyncio.socket.Udp
function unix.dgram() end

---@return asyncio.socket.Tcp
function socket.tcp() end

---@return asyncio.socket.Tcp
function socket.tcp4() end

---@return asyncio.socket.Tcp
function socket.tcp6() end

---@return asyncio.socket.Udp
function socket.udp() end

---@return asyncio.socket.Udp
function socket.udp4() end

---@return asyncio.socket.Udp
function socket.udp6() end

---@param address string
---@param port string | integer
---@param laddress? string
---@param lport? string | integer
---@param family? "unspec" | "inet" | "inet6"
---@return asyncio.socket.Tcp?, string? err
function socket.connect(address, port, laddress, lport, family) end

---@param address string
---@param port string | integer
---@return asyncio.socket.Tcp?, string? err
function socket.connect4(address, port, laddress, lport) end

---@param address string
---@param port string | integer
---@return asyncio.socket.Tcp?, string? err
function socket.connect6(address, port, laddress, lport) end

---@param host string
---@param port string | integer
---@param backlog? integer
---@return asyncio.socket.Tcp?, string? err
function socket.bind(host, port, backlog) end

---@param recvt table?
---@param sendt table?
---@param seconds? number
---@return table readable, table writable, string? err
function socket.select(recvt, sendt, seconds) end

---@return number
function socket.gettime() end

---@param seconds number
function socket.sleep(seconds) end

---@param fn function
---@return function
function socket.protect(fn) end

---@param finalizer? function
---@return function
function socket.newtry(finalizer) end

---@param ... any
---@return any ...
function socket.try(...) end

---@param n integer
---@param ... any
---@return any ...
function socket.skip(n, ...) end

---@param mode string
---@param sock asyncio.socket.Tcp
---@return function
function socket.sink(mode, sock) end

---@param mode string
---@param sock asyncio.socket.Tcp
---@param length? integer
---@return function
function socket.source(mode, sock, length) end

return socket
