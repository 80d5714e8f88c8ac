// Runs the script that a page carries compressed. The policy of the page allows, by its hash, what must come out.

async function run(): Promise<void> {
  const packed = atob(document.getElementById('lwidgets-script')!.textContent.trim());
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const script = document.createElement('script');
  script.text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).text();
  document.head.append(script);
}

run().catch((error: unknown) => {
  const told = document.createElement('p');
  told.textContent = `This picture could not be shown. Its script did not unpack (${String(error)}). Download the page again, or use a newer browser.`;
  document.getElementById('lwidgets')?.append(told);
});
