export const threadedKernelBase64 = '';
