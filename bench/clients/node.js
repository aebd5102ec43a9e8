// node.js URL POINT TASKS SECONDS - the same with Node's http.
const http = require("http")

const [url, point, tasks, seconds] = [process.argv[2], process.argv[3], +process.argv[4], +process.argv[5]]
const BODY = Buffer.alloc(10240, "x")
const agent = new http.Agent({ keepAlive: true, maxSockets: tasks })

function ask() {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { agent, method: point == "post" ? "POST" : "GET" }, (answer) => {
      const parts = []
      answer.on("data", (part) => parts.push(part))
      answer.on("end", () => (answer.statusCode == 200 && Buffer.concat(parts).length ? resolve() : reject(answer)))
    })
    request.on("error", reject)
    request.end(point == "post" ? BODY : undefined)
  })
}

async function main() {
  for (let i = 0; i < 300; i++) await ask()
  const began = performance.now(), used = process.cpuUsage()
  let n = 0
  async function work() {
    while (performance.now() < began + seconds * 1000) {
      await ask()
      n++
    }
  }
  await Promise.all(Array.from({ length: tasks }, work))
  const now = process.cpuUsage(used)
  console.log(n, now.user + now.system, (performance.now() - began) / 1000)
  agent.destroy()
}

main()
