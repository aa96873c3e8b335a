// Swaps the page's body for each one the server sends, keeping what the reader has unfolded.
const events = new EventSource("/live");
events.onmessage = (event) => {
  const open = new Set([...document.querySelectorAll("article:has(details[open]) h2")].map((title) => title.textContent));
  document.body.innerHTML = event.data;
  for (const title of document.querySelectorAll("article h2")) {
    const details = title.closest("article").querySelector("details");
    if (details && open.has(title.textContent)) details.open = true;
  }
  document.body.classList.remove("offline");
};
events.onerror = () => document.body.classList.add("offline");
