-- links.lua URL [CONNECTIONS] - reads a site from its first page on, follows its links, and tells which are
-- dead, and on which page they stand. Pages of other sites are asked for, and not read.
local asyncio = require "asyncio"
local http = asyncio.http
local parsers = asyncio.parsers

local PATIENCE = 20 -- seconds for a page

local function origin_of(url)
  local parts = parsers.url(url)
  return parts and ("%s://%s"):format(parts.scheme, parts.authority)
end

--- The pages that one leads to.
local function links_of(page, text)
  local list = {}
  for reference in text:gmatch [[<[aA]%s[^>]-[hH][rR][eE][fF]%s*=%s*["']([^"'#]+)]] do
    local url = parsers.join_url(page, reference)
    if url and url:find "^https?:" then list[#list + 1] = url end
  end
  return list
end

--- What is at a URL: why nothing is, or nil; and the links there, if it is a page of this site.
local function look(client, url, site)
  local ours = origin_of(url) == site
  local ok, answer = asyncio.pcall(client.request, client, url, { method = ours and "GET" or "HEAD" })
  if not ok then return tostring(answer), {} end
  local _ <close> = answer
  if answer.status >= 400 then return ("%d %s"):format(answer.status, answer.reason), {} end
  local is_page = (answer.headers["content-type"] or ""):find "^text/html"
  if not ours or not is_page or origin_of(answer.url) ~= site then return nil, {} end
  local read, text = asyncio.pcall(answer.read, answer)
  if not read then return tostring(text), {} end
  return nil, links_of(answer.url, text)
end

asyncio.run(function(first, connections)
  local site = assert(origin_of(first), "links.lua URL: http://...")
  local client <close> = http.Client { total_timeout = PATIENCE, max_connections_per_host = connections }
  local queue, seen, dead = asyncio.Queue(), {}, {}
  local function add(url, page)
    if seen[url] then return end
    seen[url] = page
    queue:put_nowait(url)
  end
  local function work()
    for _, url in queue:iter() do
      local why, links = look(client, url, site)
      if why then dead[#dead + 1] = ("%s: %s (on %s)"):format(url, why, seen[url]) end
      for _, link in ipairs(links) do add(link, url) end
      queue:task_done()
    end
  end
  add(first, "the command line")
  local group <close> = asyncio.TaskGroup()
  for _ = 1, connections do group:create_task(work) end
  queue:join()
  queue:shutdown()
  local n = 0
  for _ in pairs(seen) do n = n + 1 end
  table.sort(dead)
  for _, line in ipairs(dead) do print(line) end
  print(("%d pages, %d dead links"):format(n, #dead))
end, ..., tonumber((select(2, ...))) or 10)
