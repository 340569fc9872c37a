/** Wav: sound that was made, as a file that browsers play. */

const HEAD = 44;

/** A WAV file of 16 bits, of samples from -1 to 1 as little-endian 32-bit floats. */
export function wav(samples: Uint8Array, rate: number): Uint8Array<ArrayBuffer> {
  const floats = new DataView(samples.buffer, samples.byteOffset, samples.byteLength);
  const count = Math.floor(samples.byteLength / 4);
  const file = new DataView(new ArrayBuffer(HEAD + count * 2));
  const name = (at: number, text: string) => [...text].forEach((char, i) => file.setUint8(at + i, char.charCodeAt(0)));
  name(0, "RIFF");
  file.setUint32(4, HEAD - 8 + count * 2, true);
  name(8, "WAVEfmt ");
  file.setUint32(16, 16, true);
  // Uncompressed, of one channel.
  file.setUint16(20, 1, true);
  file.setUint16(22, 1, true);
  file.setUint32(24, rate, true);
  file.setUint32(28, rate * 2, true);
  file.setUint16(32, 2, true);
  file.setUint16(34, 16, true);
  name(36, "data");
  file.setUint32(40, count * 2, true);
  for (let index = 0; index < count; index++) {
    const sample = Math.max(-1, Math.min(1, floats.getFloat32(index * 4, true)));
    file.setInt16(HEAD + index * 2, Math.round(sample * 32_767), true);
  }
  return new Uint8Array(file.buffer);
}
