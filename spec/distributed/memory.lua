-- memory.lua - a Redis in memory, for the specs of asyncio.distributed: strings, hashes, lists, sets, sorted sets,
-- streams with groups, and scripts in Lua, as Redis 7 answers them. It waits for nothing; what time it is, is said to
-- it.
--
-- Values within are replies: integers, strings, lists with `n`, NULL, { ok = ... }, { err = ... }.
local asyncio = require "asyncio"

local pack, unpack = asyncio.parsers.pack, asyncio.parsers.unpack

local memory = {}

local NULL = {}
memory.NULL = NULL

local OK = { ok = "OK" }
local MAX = { math.maxinteger, math.maxinteger }

local Memory = {}
Memory.__index = Memory

local function fail(text) error({ err = text }, 0) end

local function list(...) return table.pack(...) end

local function integer(text)
  local n = math.tointeger(tonumber(text))
  if not n then fail "ERR value is not an integer or out of range" end
  return n
end

local function number(text)
  local n = ({ ["-inf"] = -math.huge, ["+inf"] = math.huge, inf = math.huge })[text] or tonumber(text)
  if not n then fail "ERR value is not a valid float" end
  return n
end

local function text_of(n)
  if n == math.huge then return "inf" end
  if n == -math.huge then return "-inf" end
  local whole = math.tointeger(n)
  return whole and ("%d"):format(whole) or ("%.17g"):format(n)
end

-- Keys

local function live(self, key)
  local entry = self.keys[key]
  if entry and entry.dies and entry.dies <= self.now() then
    self.keys[key] = nil
    return nil
  end
  return entry
end

--- What a key has; nil: there is none.
local function get(self, key, kind)
  local entry = live(self, key)
  if entry and entry.kind ~= kind then fail "WRONGTYPE Operation against a key holding the wrong kind of value" end
  return entry and entry.value
end

local function get_or_make(self, key, kind, empty)
  local value = get(self, key, kind)
  if value then return value end
  self.keys[key] = { kind = kind, value = empty }
  return empty
end

--- But for streams, what is empty is not there.
local function drop_if_empty(self, key, value)
  if next(value) == nil then self.keys[key] = nil end
end

local function note(self, key) self.on_change(key) end

local function size(map)
  local n = 0
  for _ in pairs(map) do n = n + 1 end
  return n
end

local C = {} -- the commands

function C.PING() return { ok = "PONG" } end
function C.ECHO(_, text) return text end
function C.SELECT() return OK end
function C.CLIENT() return OK end

function C.INFO()
  return "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
end

function C.TIME(self)
  local ms = self.now()
  return list(("%d"):format(ms // 1000), ("%d"):format(ms % 1000 * 1000))
end

function C.EXISTS(self, ...)
  local n = 0
  for _, key in ipairs { ... } do n = n + (live(self, key) and 1 or 0) end
  return n
end

function C.DEL(self, ...)
  local n = 0
  for _, key in ipairs { ... } do
    if live(self, key) then n = n + 1 end
    self.keys[key] = nil
    note(self, key)
  end
  return n
end

function C.PEXPIRE(self, key, ms)
  local entry = live(self, key)
  if not entry then return 0 end
  entry.dies = self.now() + integer(ms)
  return 1
end

function C.PTTL(self, key)
  local entry = live(self, key)
  return not entry and -2 or entry.dies and entry.dies - self.now() or -1
end

function C.KEYS(self)
  local names = { n = 0 }
  for key in pairs(self.keys) do
    if live(self, key) then
      names.n = names.n + 1
      names[names.n] = key
    end
  end
  return names
end

function C.FLUSHALL(self)
  self.keys = {}
  return OK
end

-- Strings

function C.GET(self, key) return get(self, key, "string") or NULL end

--- Only from a place before the end.
function C.GETRANGE(self, key, from, to)
  return (get(self, key, "string") or ""):sub(integer(from) + 1, integer(to) + 1)
end

function C.MGET(self, ...)
  local all = table.pack(...)
  for i = 1, all.n do
    local entry = live(self, all[i])
    all[i] = entry and entry.kind == "string" and entry.value or NULL
  end
  return all
end

function C.SET(self, key, value, ...)
  local words, dies, i = { ... }, nil, 1
  while words[i] do
    local word = words[i]:upper()
    if word == "NX" then
      if live(self, key) then return NULL end
    elseif word == "PX" then
      i = i + 1
      dies = self.now() + integer(words[i])
    else
      fail "ERR syntax error"
    end
    i = i + 1
  end
  self.keys[key] = { kind = "string", value = value, dies = dies }
  note(self, key)
  return OK
end

-- Hashes

function C.HSET(self, key, ...)
  local hash, new, words = get_or_make(self, key, "hash", {}), 0, { ... }
  for i = 1, #words, 2 do
    if hash[words[i]] == nil then new = new + 1 end
    hash[words[i]] = words[i + 1]
  end
  note(self, key)
  return new
end

function C.HGET(self, key, field) return (get(self, key, "hash") or {})[field] or NULL end

function C.HMGET(self, key, ...)
  local hash, all = get(self, key, "hash") or {}, table.pack(...)
  for i = 1, all.n do all[i] = hash[all[i]] or NULL end
  return all
end

function C.HINCRBY(self, key, field, by)
  local hash = get_or_make(self, key, "hash", {})
  hash[field] = ("%d"):format(integer(hash[field] or "0") + integer(by))
  return integer(hash[field])
end

function C.HLEN(self, key) return size(get(self, key, "hash") or {}) end

-- Lists

function C.LPUSH(self, key, ...)
  local values = get_or_make(self, key, "list", {})
  for _, value in ipairs { ... } do table.insert(values, 1, value) end
  return #values
end

function C.RPOP(self, key)
  local values = get(self, key, "list")
  if not values then return NULL end
  local value = table.remove(values)
  drop_if_empty(self, key, values)
  return value
end

function C.LLEN(self, key) return #(get(self, key, "list") or {}) end

function C.LRANGE(self, key, from, to)
  local values = get(self, key, "list") or {}
  from, to = integer(from), integer(to)
  if from < 0 then from = math.max(0, #values + from) end
  if to < 0 then to = #values + to end
  return list(table.unpack(values, from + 1, math.min(to + 1, #values)))
end

--- Only with a count of 0: all of them.
function C.LREM(self, key, _, value)
  local values, n = get(self, key, "list") or {}, 0
  for i = #values, 1, -1 do
    if values[i] == value then
      table.remove(values, i)
      n = n + 1
    end
  end
  if n > 0 then drop_if_empty(self, key, values) end
  return n
end

-- Sets, whose members are keys of a table

local function remove(self, kind, key, ...)
  local set, n = get(self, key, kind) or {}, 0
  for _, member in ipairs { ... } do
    if set[member] then n = n + 1 end
    set[member] = nil
  end
  if n > 0 then drop_if_empty(self, key, set) end
  return n
end

function C.SADD(self, key, ...)
  local set, n = get_or_make(self, key, "set", {}), 0
  for _, member in ipairs { ... } do
    if not set[member] then n = n + 1 end
    set[member] = true
  end
  return n
end

function C.SREM(self, ...) return remove(self, "set", ...) end

function C.SPOP(self, key, most)
  local set, all = get(self, key, "set") or {}, { n = 0 }
  while all.n < integer(most) and next(set) do
    all.n = all.n + 1
    all[all.n] = next(set)
    set[all[all.n]] = nil
  end
  if all.n > 0 then drop_if_empty(self, key, set) end
  return all
end

function C.SCARD(self, key) return size(get(self, key, "set") or {}) end

function C.SMISMEMBER(self, key, ...)
  local set, all = get(self, key, "set") or {}, table.pack(...)
  for i = 1, all.n do all[i] = set[all[i]] and 1 or 0 end
  return all
end

-- Sorted sets

local function in_order(set)
  local all = {}
  for member, score in pairs(set or {}) do all[#all + 1] = { member, score } end
  table.sort(all, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[1] < b[1] end)
  return all
end

function C.ZADD(self, key, ...)
  local words, n = { ... }, 0
  if #words == 0 or #words % 2 == 1 then fail "ERR syntax error" end
  local scores = {}
  for i = 1, #words, 2 do scores[i] = number(words[i]) end
  local set = get_or_make(self, key, "zset", {})
  for i = 1, #words, 2 do
    if not set[words[i + 1]] then n = n + 1 end
    set[words[i + 1]] = scores[i]
  end
  note(self, key)
  return n
end

function C.ZREM(self, ...) return remove(self, "zset", ...) end

function C.ZSCORE(self, key, member)
  local score = (get(self, key, "zset") or {})[member]
  return score and text_of(score) or NULL
end

function C.ZCARD(self, key) return size(get(self, key, "zset") or {}) end

function C.ZCOUNT(self, key, from, to)
  local n = 0
  for _, item in ipairs(in_order(get(self, key, "zset"))) do
    if item[2] >= number(from) and item[2] <= number(to) then n = n + 1 end
  end
  return n
end

function C.ZRANGE(self, key, from, to, with)
  local all, some = in_order(get(self, key, "zset")), { n = 0 }
  from, to = integer(from), integer(to)
  if to < 0 then to = #all + to end
  for i = from + 1, math.min(to + 1, #all) do
    some[#some + 1] = all[i][1]
    if with then some[#some + 1] = text_of(all[i][2]) end
  end
  some.n = #some
  return some
end

function C.ZRANGEBYSCORE(self, key, from, to, limit, offset, count)
  local some, skipped = { n = 0 }, 0
  for _, item in ipairs(in_order(get(self, key, "zset"))) do
    if item[2] >= number(from) and item[2] <= number(to) then
      skipped = skipped + 1
      if not limit or skipped > integer(offset) and some.n < integer(count) then
        some.n = some.n + 1
        some[some.n] = item[1]
      end
    end
  end
  return some
end

function C.ZPOPMIN(self, key)
  local set = get(self, key, "zset")
  if not set then return list() end
  local first = in_order(set)[1]
  set[first[1]] = nil
  drop_if_empty(self, key, set)
  return list(first[1], text_of(first[2]))
end

--- Without waiting: NULL.
function C.BZPOPMIN(self, ...)
  local keys = { ... }
  for i = 1, #keys - 1 do
    local got = C.ZPOPMIN(self, keys[i])
    if got.n > 0 then return list(keys[i], got[1], got[2]) end
  end
  return NULL
end

-- Streams. An id is { ms, n }; a group: { last, consumers = { name = true }, pending }, this by id:
-- { id, consumer, since, count }

local function less(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end
local function id_text(id) return ("%d-%d"):format(id[1], id[2]) end

local function parse_id(text, n)
  local ms, rest = text:match "^(%d+)%-?(%d*)$"
  if not ms then fail "ERR Invalid stream ID specified as stream command argument" end
  return { integer(ms), rest == "" and n or integer(rest) }
end

--- A bound, and whether what it says is left out.
local function bound(text, n)
  if text == "-" then return { 0, 0 }, false end
  if text == "+" then return MAX, false end
  if text:sub(1, 1) == "(" then return parse_id(text:sub(2), n), true end
  return parse_id(text, n), false
end

local function within(from, to)
  local low, no_low = bound(from, 0)
  local high, no_high = bound(to, math.maxinteger)
  return function(id)
    if less(id, low) or no_low and not less(low, id) then return false end
    return not less(high, id) and (not no_high or less(id, high))
  end
end

local function stream_of(self, key) return get(self, key, "stream") end

local function find(stream, id)
  local low, high = 1, #stream.entries
  while low <= high do
    local middle = (low + high) // 2
    local other = stream.entries[middle].id
    if less(other, id) then low = middle + 1 elseif less(id, other) then high = middle - 1 else return middle end
  end
  return nil, low
end

local function entry_reply(entry) return list(id_text(entry.id), list(table.unpack(entry.fields))) end

local function new_stream(self, key)
  return get_or_make(self, key, "stream", { entries = {}, last = { 0, 0 }, groups = {} })
end

function C.XADD(self, key, ...)
  local words, at = { ... }, 1
  if words[1] == "NOMKSTREAM" then
    if not stream_of(self, key) then return NULL end
    at = 2
  end
  if #words - at < 2 or (#words - at) % 2 == 1 then fail "ERR wrong number of arguments for 'xadd' command" end
  local id
  local stream = new_stream(self, key)
  if words[at] == "*" then
    local ms = self.now()
    id = ms > stream.last[1] and { ms, 0 } or { stream.last[1], stream.last[2] + 1 }
  else
    id = parse_id(words[at], 0)
    if not less(stream.last, id) then
      fail "ERR The ID specified in XADD is equal or smaller than the target stream top item"
    end
  end
  stream.last = id
  stream.entries[#stream.entries + 1] = { id = id, fields = table.move(words, at + 1, #words, 1, {}) }
  note(self, key)
  return id_text(id)
end

function C.XLEN(self, key)
  local stream = stream_of(self, key)
  return stream and #stream.entries or 0
end

function C.XDEL(self, key, ...)
  local stream, n = stream_of(self, key), 0
  for _, text in ipairs { ... } do
    local at = stream and find(stream, parse_id(text, 0))
    if at then
      table.remove(stream.entries, at)
      n = n + 1
    end
  end
  return n
end

function C.XRANGE(self, key, from, to, word, most)
  local stream, inside, some = stream_of(self, key), within(from, to), { n = 0 }
  local entries = stream and stream.entries or {}
  local at, after = find({ entries = entries }, (bound(from, 0)))
  for i = at or after, #entries do
    if word and some.n >= integer(most) or less((bound(to, math.maxinteger)), entries[i].id) then break end
    if inside(entries[i].id) then
      some.n = some.n + 1
      some[some.n] = entry_reply(entries[i])
    end
  end
  return some
end

--- Only by MINID.
function C.XTRIM(self, key, _, id)
  local stream, least, n = stream_of(self, key), parse_id(id, 0), 0
  while stream and stream.entries[1] and less(stream.entries[1].id, least) do
    table.remove(stream.entries, 1)
    n = n + 1
  end
  return n
end

function C.XGROUP(self, what, key, name, id, word)
  local stream = stream_of(self, key)
  what = what:upper()
  if what == "CREATE" then
    if not stream and not (word and word:upper() == "MKSTREAM") then
      fail "ERR The XGROUP subcommand requires the key to exist."
    end
    stream = stream or new_stream(self, key)
    if stream.groups[name] then fail "BUSYGROUP Consumer Group name already exists" end
    stream.groups[name] = { last = id == "$" and stream.last or parse_id(id, 0), consumers = {}, pending = {} }
    return OK
  end
  if not stream then fail "ERR The XGROUP subcommand requires the key to exist." end
  local group = stream.groups[name]
  if not group then fail "NOGROUP No such consumer group" end
  if what ~= "DELCONSUMER" then fail "ERR unknown subcommand" end
  local n = 0
  for text, nack in pairs(group.pending) do
    if nack.consumer == id then
      group.pending[text] = nil
      n = n + 1
    end
  end
  group.consumers[id] = nil
  self.on_drop(key, n)
  return n
end

local function group_of(self, key, name)
  local stream = stream_of(self, key)
  local group = stream and stream.groups[name]
  if not group then fail(("NOGROUP No such key '%s' or consumer group '%s'"):format(key, name)) end
  return group, stream
end

--- One stream, as that is all that is asked for here.
function C.XREADGROUP(self, _, name, consumer, ...)
  local words, most, i = { ... }, math.maxinteger, 1
  while words[i]:upper() ~= "STREAMS" do
    if words[i]:upper() == "COUNT" then most = integer(words[i + 1]) end
    i = i + 2
  end
  local key = words[i + 1]
  local group, stream = group_of(self, key, name)
  local some = { n = 0 }
  group.consumers[consumer] = true
  for _, entry in ipairs(stream.entries) do
    if some.n < most and less(group.last, entry.id) then
      some.n = some.n + 1
      some[some.n] = entry_reply(entry)
      group.last = entry.id
      group.pending[id_text(entry.id)] = { id = entry.id, consumer = consumer, since = self.now(), count = 1 }
    end
  end
  return some.n > 0 and list(list(key, some)) or NULL
end

--- One stream; without waiting: NULL.
function C.XREAD(self, ...)
  local words, most, i = { ... }, math.maxinteger, 1
  while words[i]:upper() ~= "STREAMS" do
    if words[i]:upper() == "COUNT" then most = integer(words[i + 1]) end
    i = i + 2
  end
  local key, after = words[i + 1], words[i + 2]
  local stream, some = stream_of(self, key), { n = 0 }
  if not stream or after == "$" then return NULL end
  after = parse_id(after, 0)
  for _, entry in ipairs(stream.entries) do
    if some.n < most and less(after, entry.id) then
      some.n = some.n + 1
      some[some.n] = entry_reply(entry)
    end
  end
  return some.n > 0 and list(list(key, some)) or NULL
end

function C.XACK(self, key, name, ...)
  local stream, n = stream_of(self, key), 0
  local group = stream and stream.groups[name]
  for _, text in ipairs { ... } do
    local id = id_text(parse_id(text, 0))
    if group and group.pending[id] then
      group.pending[id] = nil
      n = n + 1
    end
  end
  return n
end

local function sorted_pending(group)
  local all = {}
  for _, nack in pairs(group.pending) do all[#all + 1] = nack end
  table.sort(all, function(a, b) return less(a.id, b.id) end)
  return all
end

local function summary(group)
  local all, counts, names = sorted_pending(group), {}, {}
  if not all[1] then return list(0, NULL, NULL, NULL) end
  for _, nack in ipairs(all) do
    if not counts[nack.consumer] then names[#names + 1] = nack.consumer end
    counts[nack.consumer] = (counts[nack.consumer] or 0) + 1
  end
  table.sort(names)
  local consumers = { n = #names }
  for i, name in ipairs(names) do consumers[i] = list(name, ("%d"):format(counts[name])) end
  return list(#all, id_text(all[1].id), id_text(all[#all].id), consumers)
end

function C.XPENDING(self, key, name, ...)
  local words, group, idle = { ... }, group_of(self, key, name), 0
  if not words[1] then return summary(group) end
  if words[1]:upper() == "IDLE" then
    idle = integer(words[2])
    table.move(words, 3, #words + 2, 1)
  end
  local inside, most, some = within(words[1], words[2]), integer(words[3]), { n = 0 }
  for _, nack in ipairs(sorted_pending(group)) do
    local silent = math.max(0, self.now() - nack.since)
    if some.n < most and inside(nack.id) and silent >= idle and (not words[4] or words[4] == nack.consumer) then
      some.n = some.n + 1
      some[some.n] = list(id_text(nack.id), nack.consumer, silent, nack.count)
    end
  end
  return some
end

function C.XCLAIM(self, key, name, consumer, least, ...)
  local group, stream = group_of(self, key, name)
  local words, some, only_ids, idle_from_now = { ... }, { n = 0 }, false, 0
  if words[#words]:upper() == "JUSTID" then
    only_ids = true
    words[#words] = nil
  end
  if #words > 2 and words[#words - 1]:upper() == "IDLE" then
    idle_from_now = integer(words[#words])
    words[#words], words[#words - 1] = nil, nil
  end
  group.consumers[consumer] = true
  for _, text in ipairs(words) do
    local id = parse_id(text, 0)
    local nack, at = group.pending[id_text(id)], find(stream, id)
    local idle = nack and self.now() - nack.since
    if nack and not at then
      group.pending[id_text(id)] = nil
    elseif nack and (integer(least) == 0 or idle >= integer(least)) then
      if nack.consumer ~= consumer then self.on_claim(stream.entries[at], nack, consumer, idle) end
      nack.consumer, nack.since = consumer, self.now() - idle_from_now
      if not only_ids then nack.count = nack.count + 1 end
      some.n = some.n + 1
      some[some.n] = only_ids and id_text(id) or entry_reply(stream.entries[at])
    end
  end
  return some
end

function C.PUBLISH(self, channel, text) return self.on_publish(channel, text) end

-- Scripts

--- As Redis' cmsgpack writes numbers: what is whole is an integer.
local function plain(value)
  if math.type(value) == "float" then return math.tointeger(value) or value end
  if type(value) ~= "table" then return value end
  local copy = {}
  for k, v in pairs(value) do copy[plain(k)] = plain(v) end
  return copy
end

local cmsgpack = {
  pack = function(value) return pack(plain(value)) end,
  unpack = function(bytes)
    if type(bytes) ~= "string" then error("a string expected", 0) end
    return (unpack(bytes))
  end,
}

--- A reply as a script sees it.
local function to_script(reply)
  if reply == NULL then return false end
  if type(reply) ~= "table" or reply.ok or reply.err then return reply end
  local copy = {}
  for i = 1, reply.n do copy[i] = to_script(reply[i]) end
  return copy
end

--- What a script returns, as a reply.
local function from_script(value)
  if value == nil or value == false then return NULL end
  if value == true then return 1 end
  if type(value) == "number" then
    return math.tointeger(value) or (value >= 0 and math.floor(value) or math.ceil(value))
  end
  if type(value) ~= "table" or value.ok or value.err then return value end
  local copy = { n = 0 }
  for i, item in ipairs(value) do
    copy.n = i
    copy[i] = from_script(item)
  end
  return copy
end

local function arguments(...)
  local words = table.pack(...)
  for i = 1, words.n do
    if type(words[i]) == "number" then words[i] = text_of(words[i]) end
    if type(words[i]) ~= "string" then
      fail "ERR Lua redis lib command arguments must be strings or integers"
    end
  end
  return table.unpack(words, 1, words.n)
end

--- Scripts see what there is in Lua 5.1, and no other globals.
local function environment(self)
  local env = {
    redis = {}, cmsgpack = cmsgpack, string = string, math = math, tonumber = tonumber, tostring = tostring,
    type = type, ipairs = ipairs, pairs = pairs, next = next, select = select, pcall = pcall, error = error,
    unpack = table.unpack,
    setmetatable = setmetatable, getmetatable = getmetatable, assert = assert,
    table = { insert = table.insert, remove = table.remove, concat = table.concat, sort = table.sort },
  }
  function env.redis.call(...) return to_script(self:run(arguments(...))) end
  function env.redis.pcall(...)
    local ok, reply = pcall(env.redis.call, ...)
    if ok then return reply end
    return type(reply) == "table" and reply or { err = tostring(reply) }
  end
  local function no_global(_, key)
    error("Script attempted to access nonexistent global variable '" .. tostring(key) .. "'", 0)
  end
  return setmetatable(env, { __index = no_global, __newindex = no_global })
end

local function digest_of(self, text)
  for digest, script in pairs(self.scripts) do
    if script.text == text then return digest end
  end
  self.made = self.made + 1
  local digest = ("%040x"):format(self.made)
  local env = environment(self)
  self.scripts[digest] = { text = text, env = env, chunk = assert(load(text, "=script", "t", env)) }
  return digest
end

function C.SCRIPT(self, what, text)
  if what:upper() ~= "LOAD" then fail "ERR unknown subcommand" end
  return digest_of(self, text)
end

function C.EVALSHA(self, digest, n, ...)
  local script, words = self.scripts[digest:lower()], { ... }
  if not script then fail "NOSCRIPT No matching script. Please use EVAL." end
  n = integer(n)
  rawset(script.env, "KEYS", table.move(words, 1, n, 1, {}))
  rawset(script.env, "ARGV", table.move(words, n + 1, #words, 1, {}))
  local ok, value = xpcall(script.chunk, function(err)
    return type(err) == "table" and err or { err = "ERR " .. debug.traceback(tostring(err)) }
  end)
  if ok then return from_script(value) end
  self.on_script_error(value.err)
  error(value, 0)
end

function C.EVAL(self, text, ...) return C.EVALSHA(self, digest_of(self, text), ...) end

-- Its face

--- The reply to a command; raises { err = ... }.
function Memory:run(name, ...)
  local command = C[name:upper()]
  if not command then fail(("ERR unknown command '%s'"):format(name)) end
  self.counts[name:upper()] = (self.counts[name:upper()] or 0) + 1
  return command(self, ...)
end

--- The same; errors are replies, too.
function Memory:reply(...)
  local ok, reply = pcall(self.run, self, ...)
  if ok or type(reply) == "table" then return reply end
  return { err = "ERR " .. tostring(reply) }
end

--- All that it knows as it is now, for `restore`; scripts are lost with a restart.
function Memory:save()
  local seen = {}
  local function copy(value)
    if type(value) ~= "table" then return value end
    if not seen[value] then
      seen[value] = {}
      for k, v in pairs(value) do seen[value][k] = copy(v) end
    end
    return seen[value]
  end
  return copy(self.keys)
end

function Memory:restore(keys) self.keys, self.scripts = keys, {} end

--- A reply in its protocol, of the second version.
function memory.encode(reply)
  if reply == NULL or reply == nil then return "$-1\r\n" end
  if type(reply) == "number" then return (":%d\r\n"):format(reply) end
  if type(reply) == "string" then return ("$%d\r\n%s\r\n"):format(#reply, reply) end
  if reply.ok then return "+" .. reply.ok .. "\r\n" end
  if reply.err then return "-" .. reply.err:gsub("[\r\n]+", " ") .. "\r\n" end
  local parts = { ("*%d\r\n"):format(reply.n) }
  for i = 1, reply.n do parts[i + 1] = memory.encode(reply[i]) end
  return table.concat(parts)
end

local function nothing() return 0 end

--- now: a function, ms
function memory.new(now)
  return setmetatable({
    now = now, keys = {}, scripts = {}, counts = {}, made = 0, on_change = nothing, on_claim = nothing,
    on_publish = nothing, on_drop = nothing, on_script_error = nothing,
  }, Memory)
end

return memory
